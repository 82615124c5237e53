"""How long things took, as counts by bucket: cheap to fill, and two readings can be subtracted.

Pure. One thread adds, any may read: a reading may miss what is being added.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_S = 10e-6
PER_OCTAVE = 4
"""Buckets from a duration to its double: a quantile is within 9 % of the true one."""
BUCKETS = 88
"""The last begins at 35 s."""


class Histogram:
    """Counts since the start of the process."""

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bucket(seconds)] += 1


def bucket(seconds: float) -> int:
    """The index of the bucket that holds a duration."""
    if seconds <= FIRST_S:
        return 0
    return min(int(PER_OCTAVE * math.log2(seconds / FIRST_S)), BUCKETS - 1)


def quantile_s(counts: Sequence[int], share: float) -> float | None:
    """The duration that ``share`` of those counted stay below; None if none was counted."""
    total = sum(counts)
    if total <= 0:
        return None
    below, wanted = 0, share * total
    for index, count in enumerate(counts):
        below += count
        if count and below >= wanted:
            return FIRST_S * 2 ** ((index + 0.5) / PER_OCTAVE)
    return None


def since(later: Sequence[int], earlier: Sequence[int]) -> list[int]:
    """What was counted between two readings; everything if the count began again."""
    if len(earlier) != len(later) or any(b < a for a, b in zip(earlier, later, strict=True)):
        return list(later)
    return [b - a for a, b in zip(earlier, later, strict=True)]
