"""Where the second way to reduce overtakes the first: `python -m daemon.comm.bench.crossover`.

Doubling (whole vectors, log2(ranks) steps) and shares (each rank adds its part) take turns in
blocks, in worlds of the same size. Prints the median of each and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from daemon.comm.bench.world import Figure, World

KIB = 1024
SIZES = tuple(KIB * 2**power for power in range(4, 13))
BLOCKS = 5


def measure(ranks: int) -> list[tuple[int, float, float]]:
    """Bytes and the seconds of both ways, in worlds of ``ranks``."""
    rows: list[tuple[int, float, float]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        worlds = {name: World(name, ranks, folder) for name in ("doubling", "shares")}
        for world in worlds.values():
            stack.callback(world.close)
        for size in SIZES:
            figure = Figure("", "reduce", size, BLOCKS, max(3, min(40, 8 * 2**20 // size)))
            seconds: dict[str, list[float]] = {name: [] for name in worlds}
            for block in range(BLOCKS + 1):
                for name, world in worlds.items():
                    trips = world.run(figure)
                    if block:
                        seconds[name] += trips
            doubling, shares = (statistics.median(trips) for trips in seconds.values())
            rows.append((size, doubling, shares))
    return rows


def main() -> None:
    """Print a table for each world size."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 3, 4, 8])
    options = parser.parse_args()
    sys.stdout.write("| ranks | KB | doubling us | shares us | ratio |\n|---|---|---|---|---|\n")
    for ranks in options.ranks:
        for size, doubling_s, shares_s in measure(ranks):
            sys.stdout.write(
                f"| {ranks} | {size // KIB} | {doubling_s * 1e6:.0f} | {shares_s * 1e6:.0f} "
                f"| {doubling_s / shares_s:.2f} |\n"
            )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
