"""The `engine` suite: one process that holds the whole model, beside mlx-lm's own loop."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from daemon.errors import StartFailed
from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure
from mlxconsole.bench.servers import Server, own_cluster
from mlxconsole.bench.streams import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mlxconsole.bench.suites import Task

TIMEOUT_S = 900.0
SHORT_TOKENS, LONG_TOKENS = 16, 144
STACK_TURNS = 15


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
    back don't count. They take turns; the median of the turns' ratios counts.
    """
    turns: list[tuple[float, float]] = []
    with own_cluster(model, 1, threads=1) as server, _bare_loop(model) as bare_token_s:
        measure(server.port, server.model, 1, SHORT_TOKENS)
        for _ in range(3 if task.quick else STACK_TURNS):
            bare_s = bare_token_s()
            short_s, long_s = (_answer_s(server, tokens) for tokens in (SHORT_TOKENS, LONG_TOKENS))
            turns.append(((long_s - short_s) / (LONG_TOKENS - SHORT_TOKENS), bare_s))
    turns.sort(key=lambda turn: turn[1] / turn[0])
    ours_s, bare_s = turns[len(turns) // 2]
    task.tell(f"engine: one rank, HTTP to stage: {bare_s / ours_s:.3f} of the bare loop")
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


@contextmanager
def _bare_loop(model: str) -> Generator[Callable[[], float]]:
    """mlx-lm's loop in a process of its own: what a token costs it now, in seconds."""
    command = [sys.executable, "-m", "daemon.execution.bench", model, "--bare", str(LONG_TOKENS)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        to, back = process.stdin, process.stdout
        assert to is not None and back is not None  # noqa: S101, PT018 - we asked for pipes

        def token_s() -> float:
            to.write("\n")
            to.flush()
            line = back.readline()
            if not line:
                raise StartFailed("mlx-lm's loop ended: see above")
            return float(json.loads(line))

        try:
            yield token_s
        finally:
            to.close()
            process.wait(TIMEOUT_S)
