"""Measures one stage that holds the whole model, beside mlx-lm's `generate_step` on it.

`python -m daemon.execution.bench MODEL [--quick]` prints a figure a line, as JSON. Ours and theirs
take turns, so that both meet the same noise; the best of each counts. With `--bare TOKENS` it
prints for every line that it reads what a token costs mlx-lm's loop, on our kernels. Engine thread.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from daemon.execution import kernels
from daemon.execution.executor import StageExecutor
from daemon.execution.loading import load_stage
from daemon.execution.source import model_path
from daemon.messages import OpenSequence, Row, SamplingParams, Step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROMPT_TOKENS = 512
BATCHES = (1, 2, 4, 8, 16, 32)
CONTEXTS = (128, 512, 2048)
TURNS = 3
STEPS = 24
CHUNK = 256


@dataclass
class Runner:
    """One executor, and sequences that have their prompts."""

    executor: StageExecutor
    numbers: Any
    next_id: int = 0

    def open(self, prompt: list[int]) -> int:
        """Run a prompt in chunks, as the engine does; the sequence's id."""
        self.next_id += 1
        opened = OpenSequence(self.next_id, SamplingParams(), len(prompt))
        for at in range(0, len(prompt), CHUNK):
            part = tuple(prompt[at : at + CHUNK])
            row = Row(self.next_id, part, sample=at + CHUNK >= len(prompt))
            self._run(Step(1, next(self.numbers), (opened,) if at == 0 else (), rows=(row,)))
        return self.next_id

    def decode(self, ids: list[int], steps: int) -> float:
        """Seconds per step of all of them together."""
        rows = tuple(Row(sequence_id, (7,), sample=True) for sequence_id in ids)
        began = time.perf_counter()
        for _ in range(steps):
            self._run(Step(1, next(self.numbers), rows=rows))
        return (time.perf_counter() - began) / steps

    def close(self, ids: list[int]) -> None:
        """Forget them."""
        self._run(Step(1, next(self.numbers), closed=tuple(ids)))

    def _run(self, step: Step) -> None:
        self.executor.run(step, None)


def measure(folder: Path, *, quick: bool, tell: Callable[[dict[str, Any]], None]) -> None:
    """Everything; each figure is told when it is known."""
    stage = load_stage(folder, 0, _layers(folder))
    kernels.install(stage.model, os.cpu_count() or 1)
    runner = Runner(StageExecutor(stage), itertools.count())
    theirs = _Peer(folder)
    turns = 1 if quick else TURNS
    steps = STEPS // 2 if quick else STEPS
    _measure_one(runner, theirs, turns, steps, quick=quick, tell=tell)
    rates: dict[int, float] = {}
    for batch in BATCHES[::2] if quick else BATCHES:
        ids = [runner.open(_prompt(16, seed)) for seed in range(batch)]
        runner.decode(ids, 2)
        rates[batch] = batch / min(runner.decode(ids, steps) for _ in range(turns))
        runner.close(ids)
        tell(
            _figure(f"decode, batch {batch}", rates[batch], "tok/s", rates[1], "batch 1")
            | {"series": "decode together", "x": batch, "x_name": "sequences"}
        )


def _measure_one(
    runner: Runner,
    theirs: _Peer,
    turns: int,
    steps: int,
    *,
    quick: bool,
    tell: Callable[[dict[str, Any]], None],
) -> None:
    """Prefill, and decode behind contexts of several lengths."""
    for context in CONTEXTS[:1] if quick else CONTEXTS:
        prompt = _prompt(context, context)
        ours_s: list[tuple[float, float]] = []
        peer_s: list[tuple[float, float]] = []
        for _ in range(turns):
            began = time.perf_counter()
            ids = [runner.open(prompt)]
            prefill_s = time.perf_counter() - began
            ours_s.append((prefill_s, runner.decode(ids, steps)))
            runner.close(ids)
            peer_s.append(theirs.run(prompt, steps))
        best, peer = (
            (min(p for p, _ in times), min(d for _, d in times)) for times in (ours_s, peer_s)
        )
        if context == (CONTEXTS[0] if quick else PROMPT_TOKENS):
            name = f"prefill of {context} tokens"
            tell(_figure(name, context / best[0], "tok/s", context / peer[0], "generate_step"))
        name = f"decode behind {context} tokens"
        tell(
            _figure(name, 1 / best[1], "tok/s", 1 / peer[1], "generate_step")
            | {"series": "decode alone", "x": context, "x_name": "tokens of context"}
        )


class _Peer:
    """mlx-lm's own loop over the whole model."""

    def __init__(self, folder: Path, kernel_threads: int = 0) -> None:
        from mlx_lm.generate import generate_step  # noqa: PLC0415 - only the peer needs all of it
        from mlx_lm.utils import load_model  # noqa: PLC0415 - as above

        self._generate_step = generate_step
        self._model, _ = load_model(folder)
        if kernel_threads:
            kernels.install(self._model, kernel_threads)

    def run(self, prompt: list[int], steps: int) -> tuple[float, float]:
        """Seconds until the first token, and per token after it."""
        began = time.perf_counter()
        tokens = self._generate_step(
            mx.array(prompt), self._model, max_tokens=steps + 1, prefill_step_size=CHUNK
        )
        next(tokens)
        first = time.perf_counter()
        for _ in tokens:
            pass
        return first - began, (time.perf_counter() - first) / steps


def _figure(name: str, value: float, unit: str, reference: float, peer: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "better": "more",
        "reference": reference,
        "reference_name": peer,
    }


def _layers(folder: Path) -> int:
    from daemon.execution.card import inspect  # noqa: PLC0415 - for this number alone

    return inspect(folder).n_layers


def _prompt(count: int, seed: int) -> list[int]:
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    return [chance.randrange(5, 200) for _ in range(count)]


def main() -> None:
    """Print figures."""
    parser = argparse.ArgumentParser(
        prog="daemon.execution.bench", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("model", help="demo, a folder, or a hub id")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--bare", type=int, default=0, metavar="TOKENS", help="mlx-lm's loop only")
    parser.add_argument("--threads", type=int, default=1, help="of our kernels, with --bare")
    given = parser.parse_args()
    if given.bare:
        peer = _Peer(model_path(given.model), given.threads)
        peer.run(_prompt(16, 0), 8)
        for _ in sys.stdin:
            sys.stdout.write(json.dumps(peer.run(_prompt(16, 0), given.bare)[1]) + "\n")
            sys.stdout.flush()
        return

    def tell(figure: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(figure) + "\n")
        sys.stdout.flush()

    measure(model_path(given.model), quick=given.quick, tell=tell)


if __name__ == "__main__":
    main()
