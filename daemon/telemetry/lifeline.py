"""Ends a child whose supervisor is gone, however it died; until then, brings its commands.

Owns one blocked thread. The write end of the lifeline lives in the supervisor alone, so the
kernel closes it with that process and the read here returns. Commands are JSON lines.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = dict[str, Any]

log = logging.getLogger(__name__)

EXIT_ORPHANED = 3
_PR_SET_PDEATHSIG = 1


def watch(life_fd: int, on_command: Callable[[Command], None] = lambda _: None) -> threading.Thread:
    """Start the thread that ends this process when the supervisor dies; call it first of all.

    ``on_command`` gets each command of the supervisor, on that thread; it must not block.

    On Linux the kernel is asked for the same as well, since a stopped or wedged process runs no
    thread. The group of a child that leads one (as a supervisor starts it) dies as a whole.
    """
    if sys.platform == "linux":
        _ask_kernel_to_kill_with_parent()
    thread = threading.Thread(
        target=_wait, args=(life_fd, on_command), name="lifeline", daemon=True
    )
    thread.start()
    return thread


def _wait(life_fd: int, on_command: Callable[[Command], None]) -> None:
    begun = b""
    try:
        while data := os.read(life_fd, 4096):
            *lines, begun = (begun + data).split(b"\n")
            for line in lines:
                _obey(line, on_command)
    except OSError:
        pass  # a lifeline that can't be read is a lifeline that is cut
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(EXIT_ORPHANED)


def _obey(line: bytes, on_command: Callable[[Command], None]) -> None:
    try:
        on_command(json.loads(line))
    except Exception:  # a thread's boundary: the lifeline must hold whatever it is told
        log.exception("command_failed", extra={"fields": {"command": line[:200].decode("latin-1")}})


def _ask_kernel_to_kill_with_parent() -> None:
    # A libc without prctl leaves the pipe, which is enough for every process that still runs.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
