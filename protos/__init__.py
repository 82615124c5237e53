"""Protocol definitions and their generated stubs (`make protos` makes them again)."""
