"""The `scaling` suite: what a second rank on a core of its own brings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure
from mlxconsole.bench.servers import own_cluster
from mlxconsole.bench.streams import measure

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task

STREAMS = (1, 4, 8)
TOKENS = 64
TIMES = 3
WARM_UP_TOKENS = 8


def measure_suite(task: Task) -> list[Figure]:
    """Wall-clock tokens per second of two ranks, beside those of one; the best of each."""
    if (os.cpu_count() or 1) < 2 or not hasattr(os, "sched_setaffinity"):
        task.miss("scaling: needs Linux and two cores, to give each rank one of its own")
        return []
    model = task.model or str(bench_model(task.folder / "scaling-model"))
    found: dict[int, dict[int, float]] = {}
    for ranks in (1, 2):
        task.tell(f"scaling: starting {ranks} rank(s), each on one core")
        with own_cluster(model, ranks, cores=range(ranks)) as server:
            measure(server.port, server.model, STREAMS[-1], WARM_UP_TOKENS)
            for streams in STREAMS[1:2] if task.quick else STREAMS:
                rates = [
                    measure(server.port, server.model, streams, TOKENS).tokens_per_s
                    for _ in range(1 if task.quick else TIMES)
                ]
                found.setdefault(streams, {})[ranks] = max(rates)
                task.tell(f"scaling: {ranks} rank(s), {streams} streams: {max(rates):.1f} tok/s")
    return [
        Figure(
            "scaling",
            f"2 ranks, {streams} stream{'s' if streams > 1 else ''}",
            rates[2],
            "tok/s",
            "more",
            rates[1],
            "1 rank",
            "2 ranks",
            streams,
            "streams",
        )
        for streams, rates in found.items()
    ]
