"""`python -m daemon.execution.cpu.bench`: how fast this machine runs a model on the CPU kernels.

One process, the whole model, no cluster. Each figure stands beside its limit: the memory read rate
of the same cores, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from daemon.execution import kernels
from daemon.execution.batch import Batch
from daemon.execution.card import inspect
from daemon.execution.loading import load_stage
from daemon.execution.source import model_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from daemon.execution.stage import Stage

READ_BYTES = 256 * 1024 * 1024
SHORT, LONG = 128, 2048
PROMPT = 512
CHUNK = 256
STREAMS = (4, 16)
"""A few, whose rows fit one product of tiles, and many."""


class Clock:
    """Seconds of work: processor time of one thread, which a busy machine does not stretch."""

    def __init__(self, threads: int) -> None:
        self._now: Callable[[], float] = time.process_time if threads == 1 else time.perf_counter

    def of(self, work: Callable[[], object]) -> float:
        """How long ``work`` took."""
        began = self._now()
        work()
        return self._now() - began


def read_rate(clock: Clock, threads: int) -> float:
    """Bytes per second that ``threads`` cores read from memory, best of five."""
    parts = np.array_split(np.ones(READ_BYTES // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        times = [clock.of(lambda: list(pool.map(np.max, parts))) for _ in range(5)]
    return READ_BYTES / min(times)


class Bench:
    """One model on ``threads`` threads."""

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self._stage, self._clock = stage, clock
        self._vocabulary = 200

    def prefill(self, caches: Any, length: int, chunk: int = CHUNK) -> float:
        """Seconds to run more of a prompt."""
        ids = mx.random.randint(1, self._vocabulary, (1, length), key=mx.random.key(1))

        def work() -> None:
            for at in range(0, length, chunk):
                part = ids[:, at : at + chunk]
                self._stage.forward(part, None, caches, logits=False)
                mx.eval(caches.arrays())

        return self._clock.of(work)

    def together(self, streams: int, caches: Any, steps: int) -> float:
        """Seconds per step of so many streams that begin alike."""
        batch = Batch.merge(list(range(streams)), [caches] * streams)
        return self.decode(batch.caches, steps, streams)

    def decode(self, caches: Any, tokens: int, rows: int = 1) -> float:
        """Seconds per step."""
        token = mx.full((rows, 1), 5)

        def step() -> None:
            nonlocal token
            logits = self._stage.forward(token, None, caches)
            token = mx.argmax(logits[:, -1:], axis=-1)
            mx.eval(token)

        step()
        return min(self._clock.of(step) for _ in range(tokens))


def measure(folder: Path, threads: int, tokens: int, *, ours: bool, long: bool) -> dict[str, float]:
    """All figures of a model."""
    card = inspect(folder)
    token_bytes = sum(card.layer_work_bytes) + card.head_bytes
    clock = Clock(threads)
    began = time.perf_counter()
    stage = load_stage(folder, 0, card.n_layers)
    figures = {"load_s": time.perf_counter() - began}
    if ours:
        began = time.perf_counter()
        figures["kernels"] = kernels.install(stage.model, threads)
        stage.warm_up()
        figures["install_s"] = time.perf_counter() - began
    bench = Bench(stage, clock)
    figures["read_gb_s"] = read_rate(clock, threads) / 1e9
    caches = stage.make_caches()
    seconds = bench.prefill(caches, SHORT)
    one = bench.decode(caches, tokens)
    figures["decode_tok_s"] = 1 / one
    figures["weights_gb"] = stage.weight_bytes / 1e9
    figures["token_gb"] = token_bytes / 1e9  # less where a token takes some of the experts
    figures["decode_of_memory_limit"] = token_bytes / one / 1e9 / figures["read_gb_s"]
    for streams in STREAMS:
        step = bench.together(streams, caches, max(2, tokens // 4))
        figures[f"streams_{streams}_tok_s"] = streams / step
        figures[f"streams_{streams}_times_one"] = streams * one / step
    if not long:
        figures[f"prefill_{SHORT}_tok_s"] = SHORT / seconds
    else:
        figures |= _long(bench, stage, one, tokens)
    figures["read_gb_s_after"] = read_rate(clock, threads) / 1e9
    return {name: round(value, 3) for name, value in figures.items()}


def _long(bench: Bench, stage: Stage, one: float, tokens: int) -> dict[str, float]:
    """A prompt of usual length, and decoding far into a context."""
    caches = stage.make_caches()
    prompt = bench.prefill(caches, PROMPT)
    bench.prefill(caches, LONG - PROMPT)
    far = bench.decode(caches, tokens)
    return {
        f"prefill_{PROMPT}_tok_s": PROMPT / prompt,
        f"decode_at_{LONG}_tok_s": 1 / far,
        f"decode_at_{LONG}_of_{SHORT}": one / far,
    }


def _with_huge_pages() -> None:
    """Begin anew with the pages that the supervisor gives its workers, if that is needed."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606 - ourselves


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and leave."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", default="demo", help="demo (default), a folder or a hub id")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--tokens", type=int, default=12, help="per decode figure; default 12")
    parser.add_argument("--cpu-kernels", choices=("auto", "off"), default="auto")
    parser.add_argument("--short", action="store_true", help="leave the long contexts out")
    parser.add_argument("--json", action="store_true", help="one line instead of a table")
    flags = parser.parse_args(argv)
    folder = model_path(flags.model)
    ours = flags.cpu_kernels == "auto"
    figures = measure(folder, flags.threads, flags.tokens, ours=ours, long=not flags.short)
    table = "\n".join(f"{name:28s}{value:12.3f}" for name, value in figures.items())
    sys.stdout.write((json.dumps(figures) if flags.json else table) + "\n")
    return 0


if __name__ == "__main__":
    _with_huge_pages()
    sys.exit(main())
