"""One contestant on one cluster of talking ranks: CPU, bytes, latency, memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import psutil

from daemon.errors import StartFailed
from mlxconsole.console_bench.terminal import BenchTerminal

if TYPE_CHECKING:
    from collections.abc import Generator

PACKAGE = "mlxconsole.console_bench"
CONTESTANTS = {"ours": f"{PACKAGE}.console_program", "stock widgets": f"{PACKAGE}.stock_program"}
LINES_PER_S = 100
"""Of each rank."""
SETTLE_S = 3.0
WATCH_S = 10.0
KEYS = 40
KEY_LIMIT_S = 3.0
"""A key that has not shown by then counts as that long: a contestant that is overrun still ends."""
MOST_WAIT_S = 0.4
"""Keys are pressed at random moments: those of the paints must not be preferred or avoided."""


@dataclass(frozen=True, slots=True)
class Case:
    """A cluster and a screen."""

    ranks: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What a contestant needed."""

    cpu_percent: float
    """Of one core, gRPC included."""
    bytes_per_s: float
    key_p50_ms: float
    key_p95_ms: float
    first_data_s: float
    rss_bytes: int


CASES = (Case(8, 120, 40), Case(64, 200, 60))
GOALS = {
    CASES[0]: Figures(10.0, 50_000, 8, 50, 1.6, 100 * 2**20),
    CASES[1]: Figures(20.0, float("inf"), 15, 90, 1.6, 100 * 2**20),
}


def measure(contestant: str, case: Case, watch_s: float = WATCH_S, keys: int = KEYS) -> Figures:
    """Run one contestant on fresh ranks.

    Raises:
        StartFailed: it never showed what it should.
    """
    with _talking_ranks(case.ranks) as cluster:
        command = (sys.executable, "-m", CONTESTANTS[contestant], cluster)
        started_s = time.monotonic()
        with BenchTerminal(command, case.width, case.height) as terminal:
            terminal.wait_for(f"{case.ranks}/{case.ranks} READY".encode())
            first_data_s = time.monotonic() - started_s
            terminal.read_for(SETTLE_S)
            process = psutil.Process(terminal.process.pid)
            cpu_s, bytes_before, before_s = _cpu_s(process), terminal.bytes_read, time.monotonic()
            terminal.read_for(watch_s)
            span_s = time.monotonic() - before_s
            cpu_s, written = _cpu_s(process) - cpu_s, terminal.bytes_read - bytes_before
            waits_ms = sorted(1000 * wait_s for wait_s in _press_keys(terminal, keys))
            rss_bytes = process.memory_info().rss
    return Figures(
        cpu_percent=100 * cpu_s / span_s,
        bytes_per_s=written / span_s,
        key_p50_ms=statistics.median(waits_ms),
        key_p95_ms=waits_ms[min(int(0.95 * len(waits_ms)), len(waits_ms) - 1)],
        first_data_s=first_data_s,
        rss_bytes=rss_bytes,
    )


def _press_keys(terminal: BenchTerminal, keys: int) -> Generator[float]:
    """Move the cursor between the first ranks; its mark stands before the rank's number."""
    random, at = Random(keys), 0  # noqa: S311 - moments, no secret
    for number in range(keys):
        terminal.read_for(random.uniform(0.05, MOST_WAIT_S))
        step = 1 if number % 10 < 5 else -1
        at += step
        shows = f">{at:>4} ".encode()
        yield terminal.press(b"j" if step > 0 else b"k", shows, KEY_LIMIT_S)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _talking_ranks(ranks: int) -> Generator[str]:
    command = (sys.executable, "-m", f"{PACKAGE}.fake_ranks", str(ranks), str(LINES_PER_S))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        cluster = process.stdout.readline() if process.stdout else ""
        try:
            if not cluster:
                raise StartFailed("the talking ranks did not start")
            yield cluster.strip()
        finally:
            process.terminate()
