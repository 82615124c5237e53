"""Durations as counts: what the console's percentiles rest on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.histogram import BUCKETS, FIRST_S, Histogram, bucket, quantile_s, since


@given(st.floats(FIRST_S, 30.0))
def test_a_quantile_is_within_a_bucket_of_the_truth(seconds: float) -> None:
    """Four buckets to a doubling: 9 % either way."""
    histogram = Histogram()
    histogram.add(seconds)
    assert quantile_s(histogram.counts, 0.5) == pytest.approx(seconds, rel=0.1)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_quantiles_are_those_of_the_sorted_durations(durations: list[float], share: float) -> None:
    """No duration, however short or long, falls out of the count."""
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    rank = next(i for i in range(len(durations)) if i + 1 >= share * len(durations))
    exact = sorted(durations)[rank]
    found = quantile_s(histogram.counts, share)
    assert found is not None
    assert bucket(found) == bucket(exact)


def test_nothing_counted_has_no_quantile() -> None:
    """Unknown, not zero."""
    assert quantile_s(Histogram().counts, 0.5) is None


def test_a_window_is_the_difference_of_two_readings() -> None:
    """Counters only grow; the console subtracts, and a new worker starts again."""
    histogram = Histogram()
    histogram.add(0.001)
    before = list(histogram.counts)
    histogram.add(0.1)
    window = since(histogram.counts, before)
    assert sum(window) == 1
    assert quantile_s(window, 0.5) == pytest.approx(0.1, rel=0.1)
    assert since(before, histogram.counts) == before
    assert since(histogram.counts, []) == histogram.counts
    assert len(histogram.counts) == BUCKETS
