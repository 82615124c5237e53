"""Rates, shares and percentiles of the last seconds, from counters alone."""

from __future__ import annotations

import pytest

from daemon.histogram import Histogram
from mlxconsole.rank_window import UNKNOWN, RankWindow
from protos.control_pb2 import Counters, LinkStatus, RankStatus
from protos.control_pb2 import Histogram as Counted


def reading(at_s: float, *, boot_id: str = "a", step_s: float = 0.02) -> RankStatus:
    """A rank that has run 20 steps of ``step_s`` a second for ``at_s``, alone on its machine."""
    steps = round(20 * at_s)
    histogram = Histogram()
    for _ in range(steps):
        histogram.add(step_s)
    return RankStatus(
        boot_id=boot_id,
        counters=Counters(
            steps=steps,
            tokens_out=2 * steps,
            compute_s=steps * step_s,
            wait_s=at_s * 0.5,
            send_s=at_s * 0.1,
            wall_s=at_s,
            telemetry_s=at_s * 0.003,
            prefix_lookup_tokens=10 * steps,
            prefix_hit_tokens=4 * steps,
        ),
        stage_times=Counted(counts=histogram.counts),
        links=[LinkStatus(peer=1, bytes_sent=int(1000 * at_s), bytes_received=int(50 * at_s))],
    )


def test_a_second_of_counters_gives_every_figure() -> None:
    """What the columns, the charts and 'why slow' read."""
    window = RankWindow()
    for at_s in (1.0, 1.5, 2.0):
        window.add(at_s, reading(at_s))
    figures = window.figures()
    assert figures.tokens_out == pytest.approx(40)
    assert figures.bubble == pytest.approx(0.6)
    assert (figures.wait, figures.send) == (pytest.approx(0.5), pytest.approx(0.1))
    assert figures.compute_step_s == pytest.approx(0.02)
    assert figures.telemetry == pytest.approx(0.003)
    assert figures.prefix_hits == pytest.approx(0.4)
    assert figures.stage.p50_s == pytest.approx(0.02, rel=0.1)
    assert figures.links[1] == (pytest.approx(1000), pytest.approx(50))


def test_the_window_forgets_what_is_older() -> None:
    """Percentiles are those of the last seconds, not of a life."""
    window = RankWindow(window_s=2.0)
    for tick in range(9):
        window.add(1 + tick, reading(1 + tick, step_s=0.001))
    slow = reading(20.0, step_s=0.001)
    slow.stage_times.counts[60] += 40
    slow.counters.steps += 40
    window.add(10.0, reading(20.0, step_s=0.001))
    window.add(12.0, slow)
    assert window.figures().stage.p50_s == pytest.approx(10e-6 * 2 ** (60.5 / 4))


def test_a_new_worker_begins_a_new_window() -> None:
    """Counters that start again must not look like a spike, nor like a negative rate."""
    window = RankWindow()
    for at_s in (100.0, 101.0):
        window.add(at_s, reading(at_s))
    window.add(102.0, reading(0.5, boot_id="b"))
    assert window.figures() is UNKNOWN
    window.add(103.0, reading(1.5, boot_id="b"))
    assert window.figures().tokens_out == pytest.approx(40)


def test_an_idle_rank_has_no_bubble() -> None:
    """Nothing to do is not waiting: unknown, not 100 %."""
    window = RankWindow()
    idle = reading(5.0)
    for at_s in (1.0, 2.0):
        window.add(at_s, idle)
    figures = window.figures()
    assert figures.bubble is None
    assert figures.tokens_out == 0
    assert figures.stage.p50_s is None
