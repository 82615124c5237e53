"""How often the screen is painted: four times a second, and less where a paint costs much.

Pure; the caller brings the clock and the cost.
"""

from __future__ import annotations

INTERVAL_S = 0.25
SHARE = 0.08
"""Of the event loop's time, at most: keys come between paints, and wait for one that has begun."""
LONGEST_S = 1.0
"""A screen that stands still for longer looks dead."""


class PaintPace:
    """Says whether the next paint is due."""

    def __init__(self) -> None:
        self._due_s = float("-inf")

    def is_due(self, now_s: float) -> bool:
        """Whether enough time has gone since the last paint."""
        return now_s >= self._due_s

    def painted(self, began_s: float, cost_s: float) -> None:
        """A paint that began then took so many processor seconds of the loop's thread."""
        pause_s = min(LONGEST_S, cost_s / SHARE)
        # The ticks are not exact: a paint that is due with one must not wait for the next.
        self._due_s = began_s + (pause_s if pause_s > INTERVAL_S else INTERVAL_S / 2)
