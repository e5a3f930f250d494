"""What exists, and where it lies: immutable snapshots, and the store that publishes them."""
