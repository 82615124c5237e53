"""Protocol definitions and their generated stubs (`just protos` makes them again)."""
