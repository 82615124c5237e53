"""A counter becomes a rate that people can trust."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.telemetry import process_stats
from daemon.telemetry.rates import CounterRate


def test_growth_over_the_window() -> None:
    """Only the last two seconds count."""
    rate = CounterRate()
    for tick in range(41):
        rate.add(tick * 0.25, tick * 10 if tick < 21 else 200 + (tick - 20) * 25)
    assert rate.per_second(10.0) == pytest.approx(100.0)


def test_a_pause_shows_as_zero() -> None:
    """Samples go on, the counter stands."""
    rate = CounterRate()
    rate.add(0.0, 0)
    rate.add(1.0, 100)
    for tick in range(10):
        rate.add(2.0 + tick, 100)
    assert rate.per_second(11.0) == 0.0


def test_a_counter_that_starts_again_is_no_negative_rate() -> None:
    """A new worker counts from zero."""
    rate = CounterRate()
    rate.add(0.0, 1000)
    rate.add(1.0, 2000)
    rate.add(1.5, 10)
    assert rate.per_second(1.5) == 0.0
    rate.add(2.0, 20)
    assert rate.per_second(2.0) == pytest.approx(20.0)


def test_silence_and_a_first_reading_are_zero() -> None:
    """A hung worker must not look busy."""
    rate = CounterRate()
    assert rate.per_second(0.0) == 0.0
    rate.add(0.0, 5)
    assert rate.per_second(0.0) == 0.0
    rate.add(1.0, 50)
    assert rate.per_second(1.0) > 0
    assert rate.per_second(60.0) == 0.0
    rate.clear()
    assert rate.per_second(1.0) == 0.0


def test_two_readings_at_one_time_divide_nothing() -> None:
    """Clocks have a resolution."""
    rate = CounterRate()
    rate.add(1.0, 5)
    rate.add(1.0, 6)
    assert rate.per_second(1.0) == 0.0


@given(st.lists(st.tuples(st.floats(0.001, 5), st.integers(0, 1000)), max_size=50))
def test_a_rate_is_never_negative(steps: list[tuple[float, int]]) -> None:
    """Whatever the counter does."""
    rate, now_s = CounterRate(), 0.0
    for pause_s, count in steps:
        now_s += pause_s
        rate.add(now_s, count)
        assert rate.per_second(now_s) >= 0.0


def test_rss_of_a_process() -> None:
    """A process that is gone has none."""
    assert process_stats.rss_bytes(os.getpid()) > 1_000_000
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert process_stats.rss_bytes(ended.pid) == 0


def test_the_kernel_tells_or_it_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only Linux has such a file."""
    assert process_stats.kernel_oom_kills() >= 0
    monkeypatch.setattr(process_stats, "_VMSTAT", process_stats.Path("/nowhere/vmstat"))
    assert process_stats.kernel_oom_kills() == 0
