"""`python -m mlxconsole.console_bench`: a table of all cases and contestants."""

from __future__ import annotations

import argparse
import sys

from mlxconsole.console_bench.run import CASES, CONTESTANTS, GOALS, WATCH_S, Figures, measure

TITLES = ("ranks", "screen", "who", "CPU %", "KB/s", "key p50 ms", "p95 ms", "first s", "RSS MiB")


def row(figures: Figures) -> tuple[str, ...]:
    """The cells of one contestant."""
    return (
        f"{figures.cpu_percent:.1f}",
        f"{figures.bytes_per_s / 1000:.1f}",
        f"{figures.key_p50_ms:.1f}",
        f"{figures.key_p95_ms:.1f}",
        f"{figures.first_data_s:.2f}",
        f"{figures.rss_bytes / 2**20:.0f}",
    )


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m mlxconsole.console_bench", allow_abbrev=False)
    options.add_argument("--seconds", type=float, default=WATCH_S, help="to watch each")
    options.add_argument("--only", choices=[*CONTESTANTS], help="one contestant")
    options.add_argument("--ranks", type=int, help="this case only")
    given = options.parse_args()
    lines = ["| " + " | ".join(TITLES) + " |", "|" + "---|" * len(TITLES)]
    for case in CASES:
        if given.ranks and case.ranks != given.ranks:
            continue
        where = (str(case.ranks), f"{case.width}x{case.height}")
        for contestant in CONTESTANTS:
            if given.only in {None, contestant}:
                cells = row(measure(contestant, case, given.seconds))
                lines.append("| " + " | ".join((*where, contestant, *cells)) + " |")
        lines.append("| " + " | ".join((*where, "goal", *row(GOALS[case]))) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
