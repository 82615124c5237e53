"""Measures links and collectives beside their peers: raw TCP, bare gRPC streams, the MLX ring.

`python -m daemon.comm.bench [--runs 5] [--ranks 2 4] [--only NAME ...] [--figures TITLE ...]`. In
every run each contestant is a world of new processes on loopback. All of them live at once and
take turns in short blocks, so that they meet the same noise; who has no turn sleeps. A figure of a
run is the median (or p99) over its blocks; the table shows medians over runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from daemon.comm.bench.world import Figure, World

CONTESTANTS = ("ours", "bare gRPC", "raw TCP", "MLX ring")
MIB = 2**20


FIGURES = (
    Figure("4 KB there and back", "ping", 4096, 8, 250),
    Figure("128 MB one way", "stream", 128 * MIB, 4, 1, "MB/s"),
    Figure("all_reduce 8 KB", "reduce", 8192, 6, 80, pairs_only=False),
    Figure("all_reduce 64 MB", "reduce", 64 * MIB, 4, 1, "ms", pairs_only=False),
    Figure("4 KB beside 1 GB", "beside", 1024 * MIB, 1, 1, only_ours=True),
    Figure("4 KB bfloat16 decoded to MLX", "decode", 4096, 1, 2000, only_ours=True),
)


def measure(size: int, contestants: list[str], titles: list[str]) -> dict[str, dict[str, float]]:
    """Figures of one run of worlds of one size, by title and contestant."""
    result: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        worlds: dict[str, World] = {}
        for name in contestants:
            if name != "raw TCP" or size == 2:
                worlds[name] = World(name, size, folder)
                stack.callback(worlds[name].close)
        for figure in FIGURES:
            wanted = not titles or any(title in figure.title for title in titles)
            if not wanted or (figure.pairs_only and size != 2):
                continue
            seconds = take_turns(figure, worlds)
            for name, trips in seconds.items():
                for title, value in summarise(figure, size, trips):
                    result.setdefault(title, {})[name] = value
    return result


def take_turns(figure: Figure, worlds: dict[str, World]) -> dict[str, list[float]]:
    """Seconds of all blocks of a figure but the first, which warms up, by contestant."""
    seconds: dict[str, list[float]] = {}
    for block in range(figure.blocks + 1):
        for name, world in worlds.items():
            allowed = name == "ours" if figure.only_ours else True
            if not allowed or (figure.action == "reduce" and name == "raw TCP"):
                continue
            trips = world.run(figure)
            if block or figure.blocks == 1:
                seconds.setdefault(name, []).extend(trips)
        if figure.blocks == 1:
            break
    return seconds


def summarise(figure: Figure, size: int, trips: list[float]) -> list[tuple[str, float]]:
    """Titles and values of one contestant's repetitions."""
    if not trips:
        return []
    middle = statistics.median(trips)
    title = figure.title if figure.pairs_only else f"{figure.title}, {size} ranks"
    if figure.unit == "MB/s":
        return [(f"{title}, MB/s", figure.size / MIB / middle)]
    scale = 1e6 if figure.unit == "us" else 1e3
    values = [(f"{title}, p50 {figure.unit}", middle * scale)]
    if figure.action == "ping":
        values.append((f"{title}, p99 us", sorted(trips)[len(trips) * 99 // 100] * scale))
    return values


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: a row per figure, a column per contestant and one for each ratio."""
    others = CONTESTANTS[1:]
    head = [*CONTESTANTS, *(f"/ {name}" for name in others)]
    lines = ["| figure | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for title, row in sorted(results.items()):
        cells = [
            f"{statistics.median(row[name]):.4g}" if name in row else "-" for name in CONTESTANTS
        ]
        for name in others:
            ratios = [a / b for a, b in zip(row.get("ours", []), row.get(name, []), strict=False)]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "-")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run, and print the table after every run."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--only", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--figures", nargs="+", default=[], help="parts of their titles")
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    for run in range(options.runs):
        for size in options.ranks:
            for title, row in measure(size, options.only, options.figures).items():
                for name, value in row.items():
                    results.setdefault(title, {}).setdefault(name, []).append(value)
        sys.stdout.write(f"\nMedians of {run + 1} runs\n\n{table(results)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
