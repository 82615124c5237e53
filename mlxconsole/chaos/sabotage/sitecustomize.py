"""Spoils the next step of a worker on a signal; Python itself loads it from a path of chaos runs.

Only processes of a `Victim` have this folder on their path. Runs on the engine thread, in place of
the computation, as a broken kernel or a model too large would.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from types import FrameType

EXECUTOR = "daemon.execution.executor"


def _compute_for_ever() -> NoReturn:
    while True:
        pass


def _wait_for_ever() -> None:
    threading.Event().wait()


def _run_out_of_memory() -> NoReturn:
    raise MemoryError("[malloc] Unable to allocate 99999999999 bytes")


WAYS = {
    signal.SIGUSR1: _compute_for_ever,
    signal.SIGUSR2: _wait_for_ever,
    signal.SIGTTOU: _run_out_of_memory,
}


def _spoil(number: int, frame: FrameType | None) -> None:
    """Spoil the next step that has rows, and none after it."""
    del frame
    if EXECUTOR not in sys.modules:
        return  # not a worker, or not one yet
    executor: Any = sys.modules[EXECUTOR].StageExecutor
    run_passes = executor._run_passes  # noqa: SLF001 - where failures of models come from

    def spoiled(self: Any, passes: Any, *rest: Any) -> Any:
        if passes:
            executor._run_passes = run_passes  # noqa: SLF001
            WAYS[signal.Signals(number)]()
        return run_passes(self, passes, *rest)

    executor._run_passes = spoiled  # noqa: SLF001


for _number in WAYS:
    signal.signal(_number, _spoil)
