"""Latency that users feel: the customer's plan, section 5.1."""

from __future__ import annotations

import statistics

import pytest

from daemon.comm.bench import measure

pytestmark = pytest.mark.benchmark


def test_communication_latency() -> None:
    """4 KB there and back between two processes in under 1 ms, beside a bare gRPC stream."""
    runs = [(measure("ours", 2), measure("bare gRPC", 2)) for _ in range(3)]
    figure = "4 KB there and back, p50 us"
    ours = statistics.median(mine[figure] for mine, _ in runs)
    bare = statistics.median(theirs[figure] for _, theirs in runs)
    print(f"4 KB there and back: {ours:.0f} us, bare gRPC stream {bare:.0f} us")
    assert ours < 1000
    assert ours < 3 * bare  # the goal of 1.2 is watched in docs/benchmarks/communication.md
