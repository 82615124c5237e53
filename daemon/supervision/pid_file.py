"""Says in a file which process supervises a rank, so that `down` can find and prove it.

The creation time tells the process from a later one that got the same pid.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

_SAME_PROCESS_S = 1.0  # psutil rounds the creation time to clock ticks


@dataclass(frozen=True)
class PidFile:
    """A process, and the unix time at which it was created."""

    pid: int
    create_time_s: float

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.create_time_s) < _SAME_PROCESS_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OverflowError):
            return False


def path_of(state_dir: Path, rank: int) -> Path:
    """Where the pid file of ``rank`` is."""
    return state_dir / f"rank-{rank}.pid"


def log_path_of(state_dir: Path, rank: int) -> Path:
    """Where the log file of ``rank`` is."""
    return state_dir / f"rank-{rank}.log"


def write(path: Path) -> None:
    """Name this process; a reader never sees half a file.

    Raises:
        OSError: the folder can't be written.
    """
    own = PidFile(os.getpid(), psutil.Process().create_time())
    draft = path.with_name(f"{path.name}.{own.pid}")
    draft.write_text(json.dumps(asdict(own)) + "\n", encoding="ascii")
    draft.replace(path)


def read(path: Path) -> PidFile | None:
    """What ``path`` says; None without a (readable) file."""
    try:
        return PidFile(**json.loads(path.read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        return None


def remove(path: Path) -> None:
    """Take the file away if it names this process."""
    found = read(path)
    if found is not None and found.pid == os.getpid():
        path.unlink(missing_ok=True)
