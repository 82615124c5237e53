"""Whether the terminal is still there: a lost one answers reads at once, and Textual would spin."""

from __future__ import annotations

import sys
import termios


def terminal_gone() -> bool:
    """Whether standard input was a terminal that has hung up."""
    stream = sys.__stdin__
    if stream is None:
        return True
    try:
        termios.tcgetattr(stream.fileno())
    except (termios.error, ValueError, OSError):
        return True
    return False
