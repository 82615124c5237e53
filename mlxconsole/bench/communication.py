"""The `communication` suite: what `daemon.comm.bench` measures, as figures with peers."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from daemon.comm.bench import __main__ as bench
from mlxconsole.bench.figures import Figure

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task

PEERS = ("bare gRPC", "raw TCP", "MLX ring")
RUNS = 3


def measure_suite(task: Task) -> list[Figure]:
    """Medians over runs; in every run the contestants take turns."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in range(1 if task.quick else RUNS):
        for size in (2,) if task.quick else (2, 4):
            task.tell(f"communication: run {run + 1}, {size} ranks")
            for name, values in bench.measure(size, ["ours", *PEERS], []).items():
                for contestant, value in values.items():
                    found.setdefault(name, {}).setdefault(contestant, []).append(value)
    medians = {
        name: {who: statistics.median(values) for who, values in by_contestant.items()}
        for name, by_contestant in found.items()
    }
    return [figure for name, values in medians.items() for figure in _figures(name, values)]


def _figures(name: str, values: dict[str, float]) -> list[Figure]:
    """One per peer that did the same; ``name`` ends with the unit."""
    if "ours" not in values:
        return []
    text, _, unit = name.replace(", ", " ").rpartition(" ")
    better = "more" if unit.endswith("/s") else "less"
    peers = [peer for peer in PEERS if peer in values]
    if not peers:
        return [Figure("communication", text, values["ours"], unit, better)]
    return [
        Figure(
            "communication", f"{text} ({peer})", values["ours"], unit, better, values[peer], peer
        )
        for peer in peers
    ]
