"""Ends a child whose supervisor is gone, however the supervisor died.

Owns one blocked thread. The write end of the lifeline lives in the supervisor alone, so the
kernel closes it with that process and the read here returns.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

EXIT_ORPHANED = 3
_PR_SET_PDEATHSIG = 1


def watch(life_fd: int) -> threading.Thread:
    """Start the thread that ends this process when the supervisor dies; call it first of all.

    On Linux the kernel is asked for the same as well, since a stopped or wedged process runs no
    thread. The group of a child that leads one (as a supervisor starts it) dies as a whole.
    """
    if sys.platform == "linux":
        _ask_kernel_to_kill_with_parent()
    thread = threading.Thread(target=_wait, args=(life_fd,), name="lifeline", daemon=True)
    thread.start()
    return thread


def _wait(life_fd: int) -> None:
    try:
        while os.read(life_fd, 64):
            pass
    except OSError:
        pass  # a lifeline that can't be read is a lifeline that is cut
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(EXIT_ORPHANED)


def _ask_kernel_to_kill_with_parent() -> None:
    # A libc without prctl leaves the pipe, which is enough for every process that still runs.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
