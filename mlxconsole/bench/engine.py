"""The `engine` suite: one process that holds the whole model, beside mlx-lm's own loop."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from daemon.errors import StartFailed
from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure
from mlxconsole.bench.servers import Server, own_cluster
from mlxconsole.bench.streams import measure

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task

TIMEOUT_S = 900.0
SHORT_TOKENS, LONG_TOKENS = 16, 144


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
    figures.append(_whole_stack(task, model))
    return figures


def _whole_stack(task: Task, model: str) -> Figure:
    """One stream through HTTP, engine and stage of one rank, beside mlx-lm's loop on our kernels.

    What an answer costs beyond a shorter one: the prompt, the first token and text that is held
    back don't count. They take turns, the best of each counts.
    """
    bare_s, ours_s = float("inf"), float("inf")
    with own_cluster(model, 1, threads=1) as server:
        measure(server.port, server.model, 1, SHORT_TOKENS)
        for turn in range(2 if task.quick else 5):
            bare_s = min(bare_s, _bare_token_s(model))
            short_s, long_s = (
                min(_answer_s(server, tokens) for _ in range(3))
                for tokens in (SHORT_TOKENS, LONG_TOKENS)
            )
            ours_s = min(ours_s, (long_s - short_s) / (LONG_TOKENS - SHORT_TOKENS))
            task.tell(f"engine: stack, turn {turn + 1}: {bare_s / ours_s:.3f} of the bare loop")
    return Figure(
        "engine",
        "one rank, HTTP to stage",
        1 / ours_s,
        "tok/s",
        "more",
        1 / bare_s,
        "generate_step, our kernels",
    )


def _answer_s(server: Server, tokens: int) -> float:
    """From the request to the last token."""
    return tokens / measure(server.port, server.model, 1, tokens).tokens_per_s


def _bare_token_s(model: str) -> float:
    command = [sys.executable, "-m", "daemon.execution.bench", model, "--bare", str(LONG_TOKENS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise StartFailed(f"mlx-lm's loop failed: {done.stderr.strip()[-300:]}")
    return float(json.loads(done.stdout)["token_s"])
