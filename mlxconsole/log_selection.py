"""Which lines of a log are shown, in the order of their time, while new ones arrive.

Pure; knows no screen. A view owns one and asks it for lines by their place.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlxconsole.log_entry import LogEntry
    from mlxconsole.log_ring import LogRing

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_WEIGHTS = {name: weight for weight, name in enumerate(LEVELS)} | {"CRITICAL": len(LEVELS)}

Key = tuple[float, int]
"""Time of a line on its rank's clock, then its number: equal times keep their arrival."""
MOST_AT_ONCE = 30_000
"""Lines that are looked through for a query in one go: the screen must not stand still."""
_PIECE = 8_192
"""Lines whose keys are Python objects at one time."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What the reader wants to see."""

    pattern: re.Pattern[str] | None = None
    """Searched anywhere in a line's text."""
    hide: bool = False
    """Leave out what the pattern does not find, instead of dimming it."""
    level: str = "DEBUG"
    """The least level shown."""
    rank: int | None = None
    """Show this rank only."""

    def finds(self, entry: LogEntry) -> bool:
        """Whether the pattern is in the line; without a pattern it is in none."""
        return self.pattern is not None and self.pattern.search(entry.text) is not None

    def admits(self, entry: LogEntry) -> bool:
        """Whether the line is shown; one of unknown level always is."""
        if self.rank is not None and entry.rank != self.rank:
            return False
        if _WEIGHTS.get(entry.level, len(LEVELS)) < _WEIGHTS[self.level]:
            return False
        return not (self.hide and self.pattern) or self.finds(entry)

    @property
    def admits_all(self) -> bool:
        """Whether it leaves nothing out."""
        return self.rank is None and self.level == LEVELS[0] and not (self.hide and self.pattern)


def compiled(text: str) -> re.Pattern[str] | None:
    """The pattern for what was typed: lower case finds both cases; nothing is no pattern.

    Raises:
        re.error: it is no regular expression.
    """
    if not text:
        return None
    return re.compile(text, 0 if text != text.lower() else re.IGNORECASE)


class LogSelection:
    """The lines of a ring that a query admits, sorted by time; only those that the ring has."""

    def __init__(self, ring: LogRing) -> None:
        self._ring = ring
        self.query = LogQuery()
        self.until: int | None = None
        """Show only lines with smaller numbers: how the log looked when that line came."""
        self.taken = 0
        """Lines taken in since the last `choose`; grows when old ones are dropped, too."""
        self._times = array("d")
        self._numbers = array("q")
        """With the times the keys of the lines, in order."""
        self._next = self._start = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[LogEntry]:
        found = map(self._ring.get, self._numbers)
        return (entry for entry in found if entry is not None)

    def entry(self, at: int) -> LogEntry | None:
        """The line at this place; None beyond the end, or where the ring just dropped it."""
        return self._ring.get(self._numbers[at]) if 0 <= at < len(self) else None

    def key(self, at: int) -> Key | None:
        """What finds the line at this place again; None beyond the end."""
        return (self._times[at], self._numbers[at]) if 0 <= at < len(self) else None

    def choose(self, query: LogQuery, until: int | None = None) -> None:
        """Start again with another query or end."""
        self.query, self.until = query, until
        self._times, self._numbers = array("d"), array("q")
        self.taken = self._next = 0
        self.take(0)

    def take(self, top: int) -> int:
        """Take in what the ring has got since; late lines go where their time belongs.

        Returns:
            Where the line that stood at ``top`` stands now.
        """
        place = self.key(top)
        self._drop_gone()
        end = self._ring.end if self.until is None else min(self.until, self._ring.end)
        if not self.query.admits_all:
            end = min(end, self._next + MOST_AT_ONCE)
        while self._next < end:
            stop = min(end, self._next + _PIECE)
            self._merge(self._admitted(self._next, stop))
            self._next = stop
        return top if place is None else min(self.index(place), len(self))

    def index(self, key: Key) -> int:
        """Where the line with this key stands, or would."""
        return bisect_left(
            range(len(self)), key, key=lambda at: (self._times[at], self._numbers[at])
        )

    def find(self, start: int, step: int) -> int | None:
        """The nearest line from ``start`` on that the pattern is in; goes round at the ends."""
        count = len(self)
        places = ((start + step * n) % count for n in range(count))
        return next((at for at in places if self._finds(at)), None)

    def _finds(self, at: int) -> bool:
        entry = self.entry(at)
        return entry is not None and self.query.finds(entry)

    def _admitted(self, first: int, end: int) -> list[Key]:
        """The keys of the lines from number ``first`` up to ``end`` that are shown."""
        if self.query.admits_all:
            return list(zip(self._ring.times_s(first, end), range(first, end), strict=True))
        is_read = self.query.hide and self.query.pattern is not None
        entries = self._ring.between(first, end, ready=is_read)
        return [(entry.time_s, entry.number) for entry in entries if self.query.admits(entry)]

    def _merge(self, fresh: list[Key]) -> None:
        """Sort new lines in; only what is younger than the oldest of them moves."""
        if not fresh:
            return
        self.taken += len(fresh)
        fresh.sort()
        at = self.index(fresh[0])
        if at < len(self):
            moving = zip(self._times[at:], self._numbers[at:], strict=True)
            fresh = sorted([*moving, *fresh])
            del self._times[at:], self._numbers[at:]
        self._times.extend(time_s for time_s, _ in fresh)
        self._numbers.extend(number for _, number in fresh)

    def _drop_gone(self) -> None:
        """Leave out what the ring has dropped, which need not be what is shown first."""
        start = self._ring.start
        self._next = max(self._next, start)
        if start == self._start:
            return
        self._start = start
        kept = list(map(start.__le__, self._numbers))
        self._times = array("d", compress(self._times, kept))
        self._numbers = array("q", compress(self._numbers, kept))
