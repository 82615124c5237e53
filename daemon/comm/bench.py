"""Measures links and collectives beside their peers: raw TCP, bare gRPC streams, the MLX ring.

`python -m daemon.comm.bench [--runs 5] [--ranks 2 4]`. Every contestant runs in processes of its
own on loopback, one after the other, again in every run, so that all meet the same noise.
Figures are medians over runs of each run's own figure.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONTESTANTS = ("ours", "bare gRPC", "raw TCP", "MLX ring")
TIMEOUT_S = 120


def free_ports(count: int) -> list[int]:
    """Ports on loopback that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def measure(contestant: str, size: int) -> dict[str, float]:
    """Figures of rank 0 of one world; empty if the contestant does not work here."""
    ports = free_ports(size)
    with tempfile.TemporaryDirectory() as folder:
        hostfile = Path(folder) / "hosts.json"
        hostfile.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in ports]))
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "daemon.comm.bench_ranks", contestant, str(rank)]
                + [str(port) for port in ports],
                env=os.environ | {"MLX_RANK": str(rank), "MLX_HOSTFILE": str(hostfile)},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for rank in range(size)
        ]
        try:
            output, _ = ranks[0].communicate(timeout=TIMEOUT_S)
            for rank in ranks[1:]:
                rank.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return {}
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
    return json.loads(output) if output.strip() else {}


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: a row per figure, a column per contestant."""
    figures = sorted({figure for result in results.values() for figure in result})
    lines = [
        "| figure | " + " | ".join(CONTESTANTS) + " |",
        "|---" * (len(CONTESTANTS) + 1) + "|",
    ]
    for figure in figures:
        cells = []
        for contestant in CONTESTANTS:
            values = results[contestant].get(figure)
            cells.append(f"{statistics.median(values):.4g}" if values else "-")
        lines.append(f"| {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run, and print the table after every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {name: {} for name in CONTESTANTS}
    for run in range(options.runs):
        for size in options.ranks:
            for contestant in CONTESTANTS:
                for figure, value in measure(contestant, size).items():
                    results[contestant].setdefault(figure, []).append(value)
        sys.stdout.write(f"\nMedians of {run + 1} runs\n\n{table(results)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
