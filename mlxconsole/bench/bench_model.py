"""Makes the model that suites run when none is given: random, with the demo's tokenizer."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from daemon.errors import StartFailed

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 120.0


def bench_model(folder: Path) -> Path:
    """Write it into ``folder``, unless it is there; the folder."""
    if (folder / "config.json").exists():
        return folder
    command = [sys.executable, "-m", "daemon.execution.random_model", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise StartFailed(f"can't make a model to measure with: {done.stderr.strip()[-300:]}")
    return folder
