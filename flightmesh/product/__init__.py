"""The vocabulary of data products: manifest, contract, policy. No engine, no SQL parser, no disk layout of ours."""
