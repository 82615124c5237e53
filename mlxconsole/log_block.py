"""Some hundred lines of a log in a row, packed: a few objects instead of some thousand.

200,000 lines as Python objects take 52 MB; their bytes are 20 MB. Pure; knows no screen.
"""

from __future__ import annotations

from array import array

from mlxconsole.log_entry import LogEntry


class LogBlock:
    """Lines that came one after the other; it only grows, and goes as a whole."""

    __slots__ = ("_ends", "_kind_of", "_kinds", "_texts", "_times", "_whose", "first", "ready")

    def __init__(self, first: int) -> None:
        self.first = first
        """Number of its first line."""
        self.ready = 0
        """How many lines, from the first on, have their text put together."""
        self._times = array("d")
        self._whose = array("I")
        """Per line: which of the kinds it is."""
        self._kinds: list[tuple[int, str, str]] = []
        """Rank, level and source; a block has few different ones."""
        self._kind_of: dict[tuple[int, str, str], int] = {}
        self._texts = bytearray()
        """UTF-8, one behind the other."""
        self._ends = array("I", [0])

    def __len__(self) -> int:
        return len(self._times)

    def append(self, entry: LogEntry) -> None:
        """Take the line in."""
        kind = (entry.rank, entry.level, entry.source)
        place = self._kind_of.setdefault(kind, len(self._kinds))
        if place == len(self._kinds):
            self._kinds.append(kind)
        self._times.append(entry.time_s)
        self._whose.append(place)
        self._texts += entry.raw.encode("utf-8", "replace")
        self._ends.append(len(self._texts))

    def entry(self, at: int) -> LogEntry:
        """The line at this place of the block."""
        rank, level, source = self._kinds[self._whose[at]]
        raw = self._texts[self._ends[at] : self._ends[at + 1]].decode()
        return LogEntry(rank, self._times[at], level, source, raw, self.first + at)

    def time_s(self, at: int) -> float:
        """When the line at this place was written."""
        return self._times[at]

    def make_ready(self) -> None:
        """Put every text together, once, and keep it instead of what it is made of."""
        texts = [self.entry(at).text.encode() for at in range(self.ready, len(self))]
        del self._texts[self._ends[self.ready] :]
        for at, text in enumerate(texts, self.ready + 1):
            self._texts += text
            self._ends[at] = len(self._texts)
        self.ready = len(self)
