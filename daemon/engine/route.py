"""The way of a step through the ranks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.messages import Plan


def next_rank(plan: Plan, rank: int) -> int | None:
    """Who gets a step after ``rank``; None after the last. Ranks without layers are passed over."""
    after = range(rank + 1, len(plan.ranges))
    return next((other for other in after if plan.ranges[other][0] < plan.ranges[other][1]), None)
