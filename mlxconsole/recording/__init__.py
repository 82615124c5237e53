"""What a console saw, in a file: written while it happens or afterwards, and played again."""
