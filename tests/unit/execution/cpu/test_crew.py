"""The helpers of a crew: they leave before the code that they are in."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING

from daemon.execution.cpu.crew import Crew
from daemon.execution.cpu.machine import Machine
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

HELPERS = 2


def _helpers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("kernels-")}


def test_code_outlives_its_helpers(tmp_path: Path) -> None:
    """Code that went with its machine, while a helper slept in it, ended the process."""
    others = _helpers()
    for _ in range(20):
        crew = Crew(Machine(tmp_path), 1 + HELPERS)
        assert len(_helpers() - others) >= HELPERS
        del crew
        gc.collect()
    wait_for(lambda: not _helpers() - others)
