"""The terminal application: the only importer of textual. Reads the store, paints, asks back."""
