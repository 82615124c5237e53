"""What commands print: answers to standard output, complaints to standard error."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


def say(text: str) -> None:
    """Print an answer."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print why it did not work, as one line."""
    line = " ".join(text.split())
    sys.stderr.write(f"mlxconsole: {line}\n")
    sys.stderr.flush()


@contextmanager
def reader_may_leave() -> Generator[None]:
    """A reader that closes the pipe (`| head`) has what it wanted: no error, no more output."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
