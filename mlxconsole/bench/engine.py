"""The `engine` suite: one process that holds the whole model, beside mlx-lm's own loop."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from daemon.errors import StartFailed
from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task

TIMEOUT_S = 900.0


def measure_suite(task: Task) -> list[Figure]:
    """Every line that the measuring process prints is a figure."""
    model = task.model or str(bench_model(task.folder / "engine-model"))
    command = [sys.executable, "-m", "daemon.execution.bench", model]
    command += ["--quick"] if task.quick else []
    figures: list[Figure] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - we asked for a pipe
        for line in process.stdout:
            item: dict[str, Any] = json.loads(line)
            figures.append(Figure("engine", **item))
            task.tell(f"engine: {item['name']}: {item['value']:.4g} {item['unit']}")
        if process.wait(TIMEOUT_S):
            raise StartFailed("the measuring process failed: see above")
    return figures
