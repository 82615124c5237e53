"""The `scaling` suite: what a second rank on a core of its own brings.

One rank and two live at the same time and take turns, so that they meet the same machine; who has
no turn sleeps. Where sequences run alone (`exact`) every row costs the same, and the pipeline alone
decides. Together, a step costs hardly more for a few rows than for one, so two ranks that share the
streams gain little: each group has half the rows, and still reads all weights.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure
from mlxconsole.bench.servers import own_cluster
from mlxconsole.bench.streams import measure

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from mlxconsole.bench.servers import Server
    from mlxconsole.bench.suites import Task

ALONE, TOGETHER = "each alone", "together"
STREAMS = {ALONE: (4, 8), TOGETHER: (4, 16, 32)}
TOKENS = 128
"""Of each stream."""
TIMES = 3
WARM_UP_TOKENS = 4


def measure_suite(task: Task) -> list[Figure]:
    """Wall-clock tokens per second of two ranks, beside those of one; medians."""
    if not possible():
        task.miss("scaling: needs Linux and two cores, to give each rank one of its own")
        return []
    model = task.model or str(bench_model(task.folder / "scaling-model"))
    figures: list[Figure] = []
    for how, streams in STREAMS.items():
        task.tell(f"scaling, {how}: starting 1 and 2 ranks, each on one core")
        wanted, times = (streams[:1], 1) if task.quick else (streams, TIMES)
        for count, pairs in compared(model, how, wanted, times):
            # The pair that has the middle ratio: both of its rates met the same machine.
            pair = sorted(pairs, key=lambda pair: pair[0] / pair[1])[times // 2]
            task.tell(f"scaling, {how}: {count} streams, {pair[0] / pair[1]:.2f} times one")
            figures.append(_figure(how, count, *pair))
    return figures


def possible() -> bool:
    """Whether each of two ranks can have a core of its own here."""
    return (os.cpu_count() or 1) >= 2 and hasattr(os, "sched_setaffinity")


def compared(
    model: str, how: str, streams: Sequence[int], times: int
) -> Generator[tuple[int, list[tuple[float, float]]]]:
    """For each number of streams: tokens per second of two ranks and of one, so many times."""
    exact = how == ALONE
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(own_cluster(model, ranks, cores=range(ranks), exact=exact))
            for ranks in (1, 2)
        )
        for server in (one, two):
            measure(server.port, server.model, streams[-1], WARM_UP_TOKENS)
        for count in streams:
            yield count, [(_rate(two, count), _rate(one, count)) for _ in range(times)]


def _rate(server: Server, streams: int) -> float:
    return measure(server.port, server.model, streams, TOKENS).tokens_per_s


def _figure(how: str, streams: int, two: float, one: float) -> Figure:
    return Figure(
        "scaling",
        f"2 ranks, {streams} streams, {how}",
        two,
        "tok/s",
        "more",
        one,
        "1 rank",
        how,
        streams,
        "streams",
    )
