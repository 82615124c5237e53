"""The recent past of a cluster, and the moment in it that all views show.

Pure and bounded: one picture a second, the oldest dropped first. The console's loop only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from mlxconsole.rank_window import FixedWindow
from mlxconsole.rates import FixedRate
from protos.control_pb2 import RequestTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlxconsole.store import RankView, Store

INTERVAL_S = 1.0
LONGEST = 1_800
ROWS = 64
"""Of the table of requests, in each picture."""
RECENT = 16
"""Pictures whose rates stand in a rank's line."""
RANK_VIEWS = 32_000
"""Bound over all pictures: 64 ranks are kept for 8 minutes, 17 and fewer for half an hour."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What was known at one moment."""

    at_s: float
    """Monotonic."""
    ranks: dict[int, RankView]
    log_end: int
    """One past the newest line that had come."""
    events_end: int
    requests: bytes = b""
    """The first of the table of requests, packed: half an hour of them is kept."""


class Timeline:
    """Takes the pictures, and holds the cursor."""

    def __init__(self, ranks: int) -> None:
        self.pictures: deque[Picture] = deque(maxlen=min(LONGEST, RANK_VIEWS // max(ranks, 1)))
        self.shown: Picture | None = None
        """The picture that all views show; None is now."""

    def record(self, store: Store) -> None:
        """Take a picture, if the last is old enough."""
        now_s = store.clock()
        if self.pictures and now_s - self.pictures[-1].at_s < INTERVAL_S:
            return
        for view in store.ranks.values():
            live = view.contact == "live"
            view.recent = (*view.recent, view.tokens_out.per_second(now_s) if live else None)[
                -RECENT:
            ]
        ranks = {
            rank: replace(
                view,
                tokens_out=FixedRate(view.tokens_out.per_second(now_s)),
                window=FixedWindow(view.window.figures()),
            )
            for rank, view in store.ranks.items()
        }
        requests = RequestTable(rows=store.requests.rows[:ROWS], total=store.requests.total)
        self.pictures.append(
            Picture(now_s, ranks, store.log.end, store.events.end, requests.SerializeToString())
        )

    def move(self, seconds: float) -> None:
        """Move the cursor; past the newest picture is now again, the oldest is the limit."""
        if not self.pictures:
            return
        if self.shown is None and seconds > 0:
            return
        start_s = self.shown.at_s if self.shown else self.pictures[-1].at_s
        times = [picture.at_s for picture in self.pictures]
        if start_s + seconds > times[-1]:
            self.shown = None
        else:
            self.shown = self.pictures[max(bisect_right(times, start_s + seconds) - 1, 0)]

    def until_shown(self, most: int) -> list[Picture]:
        """The last pictures, at most ``most``, that end with the one shown."""
        end_s = self.shown.at_s if self.shown else float("inf")
        found: list[Picture] = []
        for picture in reversed(self.pictures):
            if len(found) == most:
                break
            if picture.at_s <= end_s:
                found.append(picture)
        return found[::-1]


def token_rates(pictures: Sequence[Picture], rank: int) -> list[float | None]:
    """Tokens per second in each picture; None where nobody could know."""
    views = (picture.ranks[rank] for picture in pictures)
    return [v.tokens_out.per_second(0.0) if v.contact == "live" else None for v in views]


def step_times_ms(pictures: Sequence[Picture], rank: int) -> list[float | None]:
    """Mean compute time of the steps since the picture before; None where there was none."""
    found: list[float | None] = [None] if pictures else []
    for before, after in pairwise(picture.ranks[rank].status for picture in pictures):
        if before is None or after is None or before.boot_id != after.boot_id:
            found.append(None)
            continue
        steps = after.counters.steps - before.counters.steps
        compute_s = after.counters.compute_s - before.counters.compute_s
        found.append(1000 * compute_s / steps if steps > 0 else None)
    return found
