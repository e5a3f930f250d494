"""The Flight door: bytes of the protocol in, calls of the service, bytes out."""
