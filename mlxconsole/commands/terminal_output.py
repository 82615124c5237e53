"""What commands print: answers to standard output, complaints to standard error."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print an answer."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print why it did not work, as one line."""
    line = " ".join(text.split())
    sys.stderr.write(f"mlxconsole: {line}\n")
    sys.stderr.flush()
