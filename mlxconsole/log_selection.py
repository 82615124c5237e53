"""Which lines of a log are shown, in the order of their time, while new ones arrive.

Pure; knows no screen. A view owns one and asks it for lines by their place.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlxconsole.log_ring import LogEntry, LogRing

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_WEIGHTS = {name: weight for weight, name in enumerate(LEVELS)} | {"CRITICAL": len(LEVELS)}

Key = tuple[float, int]
"""Time of a line on its rank's clock, then its number: equal times keep their arrival."""
MOST_AT_ONCE = 30_000
"""Lines that are looked through for a query in one go: the screen must not stand still."""
key_of = attrgetter("time_s", "number")


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
    """The lines of a ring that a query admits, sorted by time; at most as many as the ring has."""

    def __init__(self, ring: LogRing) -> None:
        self._ring = ring
        self.query = LogQuery()
        self.until: int | None = None
        """Show only lines with smaller numbers: how the log looked when that line came."""
        self.lines: list[LogEntry] = []
        self.taken = 0
        """Lines taken in since the last `choose`; grows when old ones are dropped, too."""
        self._next = 0

    def choose(self, query: LogQuery, until: int | None = None) -> None:
        """Start again with another query or end."""
        self.query, self.until = query, until
        self.lines = []
        self.taken = self._next = 0
        self.take(0)

    def take(self, top: int) -> int:
        """Take in what the ring has got since; late lines go where their time belongs.

        Returns:
            Where the line that stood at ``top`` stands now.
        """
        end = self._ring.end if self.until is None else min(self.until, self._ring.end)
        if not self.query.admits_all:
            end = min(end, max(self._next, self._ring.start) + MOST_AT_ONCE)
        fresh = self._ring.between(self._next, end)
        if not self.query.admits_all:
            fresh = [entry for entry in fresh if self.query.admits(entry)]
        self._next = max(self._next, end)
        place = key_of(self.lines[top]) if top < len(self.lines) else None
        if fresh:
            self._merge(fresh)
        excess = len(self.lines) - self._ring.capacity
        if excess > 0:
            del self.lines[:excess]
        return top if place is None else min(self.index(place), len(self.lines))

    def index(self, key: Key) -> int:
        """Where the line with this key stands, or would."""
        return bisect_left(self.lines, key, key=key_of)

    def find(self, start: int, step: int) -> int | None:
        """The nearest line from ``start`` on that the pattern is in; goes round at the ends."""
        count = len(self.lines)
        places = ((start + step * n) % count for n in range(count))
        return next((at for at in places if self.query.finds(self.lines[at])), None)

    def _merge(self, fresh: list[LogEntry]) -> None:
        """Sort new lines in; only what is younger than the oldest of them moves."""
        self.taken += len(fresh)
        fresh.sort(key=key_of)
        at = self.index(key_of(fresh[0]))
        moving = self.lines[at:]
        if moving:
            fresh = sorted(moving + fresh, key=key_of)
        self.lines[at:] = fresh
