"""Notices that the terminal is gone, and sees to it that the console ends then.

A thread of its own looks: on a lost terminal Textual's event loop may spin on reads, or wait for
ever for its writing thread, which has died of the error.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 0.25
LEAVE_S = 3.0
"""To leave in order; there is no terminal left that would have to be given back."""
GONE = 128 + signal.SIGHUP
"""Exit status, as if the hang-up had ended us."""


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


def end_without_terminal(leave: Callable[[], None]) -> None:
    """From now on, call ``leave`` on a thread once the terminal is gone, then end the process."""
    threading.Thread(target=_watch, args=(leave,), name="terminal", daemon=True).start()


def _watch(leave: Callable[[], None]) -> None:
    while not terminal_gone():
        time.sleep(LOOK_S)
    leave()
    time.sleep(LEAVE_S)
    os._exit(GONE)
