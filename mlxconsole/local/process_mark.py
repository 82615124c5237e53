"""A process that we may end: its id together with its birth, so that a reused id is no victim.

Any thread; blocks while it waits.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

KILL_WAIT_S = 5.0
CLOCK_STEP_S = 2.0
"""The same process may be dated this much differently after the clock was set."""


@dataclass(frozen=True)
class ProcessMark:
    """One process, for ever."""

    pid: int
    create_time_s: float
    """Unix time."""

    @staticmethod
    def of(pid: int) -> ProcessMark | None:
        """The mark of a running process; None if there is none."""
        try:
            return ProcessMark(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    def find(self) -> psutil.Process | None:
        """The process, if it still runs: neither gone, nor a zombie, nor another with its id."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time_s) < CLOCK_STEP_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


def with_descendants(marks: Iterable[ProcessMark]) -> list[ProcessMark]:
    """The processes that still run, each followed by its children, theirs and so on."""
    found: list[psutil.Process] = []
    for mark in marks:
        process = mark.find()
        if process is None:
            continue
        found.append(process)
        with contextlib.suppress(psutil.Error):
            found += process.children(recursive=True)
    return [mark for process in found if (mark := ProcessMark.of(process.pid))]


def wait_gone(marks: Iterable[ProcessMark], timeout_s: float) -> list[ProcessMark]:
    """Wait until the processes have ended; those that have not after ``timeout_s``."""
    pairs = [(mark, process) for mark in marks if (process := mark.find())]
    _, alive = psutil.wait_procs([process for _, process in pairs], timeout=timeout_s)
    left = {process.pid for process in alive}
    return [mark for mark, _ in pairs if mark.pid in left and mark.find()]


def end(marks: Iterable[ProcessMark], grace_s: float) -> list[ProcessMark]:
    """SIGTERM, ``grace_s`` to leave in order, SIGKILL for the rest and for what they leave behind.

    Returns:
        Processes that even SIGKILL did not end: not ours, or stuck in the kernel.
    """
    asked = [mark for mark in marks if mark.find()]
    family = with_descendants(asked)
    _signal(asked, "terminate")
    left = wait_gone(asked, grace_s)
    if left:
        family += with_descendants(left)
        _signal(left, "kill")
    # Children end with their parent by themselves; one that does not is ended here.
    stray = wait_gone(family, KILL_WAIT_S if not left else 1.0)
    _signal(stray, "kill")
    _reap(family)
    return wait_gone(stray, KILL_WAIT_S)


def _signal(marks: Iterable[ProcessMark], action: str) -> None:
    for mark in marks:
        process = mark.find()
        if process:
            with contextlib.suppress(psutil.Error):
                getattr(process, action)()


def _reap(marks: Iterable[ProcessMark]) -> None:
    """Collect exit statuses of those that are our own children."""
    for mark in marks:
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(mark.pid, os.WNOHANG)
