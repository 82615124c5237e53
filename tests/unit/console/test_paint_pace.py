"""The screen is painted less often where a paint costs much."""

from __future__ import annotations

import pytest

from mlxconsole.ui.paint_pace import INTERVAL_S, LONGEST_S, PaintPace


def _paints(cost_s: float, ticks: int) -> int:
    """How many of so many ticks paint, when each paint costs that much."""
    pace, count = PaintPace(), 0
    for tick in range(ticks):
        # No timer is exact.
        now_s = 100.0 + tick * INTERVAL_S + (0.004 if tick % 2 else -0.004)
        if pace.is_due(now_s):
            pace.painted(now_s, cost_s)
            count += 1
    return count


@pytest.mark.parametrize(
    ("cost_s", "paints"), [(0.0, 40), (0.015, 40), (0.030, 20), (0.050, 14), (1.0, 10)]
)
def test_a_paint_takes_a_bounded_share_of_the_loop(cost_s: float, paints: int) -> None:
    """Ten seconds of ticks: each of them, every second, every third, and at least one a second."""
    assert _paints(cost_s, 40) == pytest.approx(paints, abs=2)


def test_a_dear_paint_does_not_freeze_the_screen() -> None:
    """However much it costs, the next comes within a second."""
    pace = PaintPace()
    pace.painted(100.0, 60.0)
    assert not pace.is_due(100.0 + LONGEST_S - 0.01)
    assert pace.is_due(100.0 + LONGEST_S)
