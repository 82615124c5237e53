"""The merged log of all ranks: bounded, and numbered so that views keep their place.

Pure; knows no screen.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protos.control_pb2 import Event, LogLine

CAPACITY = 200_000
"""About four minutes of 8 ranks with 100 lines a second each, and 52 MB."""
CONSOLE = -1
"""The rank of lines that this console wrote itself."""
BAD_EVENTS = frozenset({"exit", "failed", "failing", "stuck"})
"""Kinds of events that tell of something broken."""
FIRST_FIELDS = ("status", "seconds")
"""What came of a request: before how it was asked."""
LONG_FIELDS = ("request_id", "boot_id", "logger")
"""Of less use than the others, and so long that they would push them off the screen: last."""


class LogEntry:
    """One line. Its text is put together when somebody wants to see it: most lines nobody does."""

    __slots__ = ("_fields_json", "_text", "level", "number", "rank", "source", "time_s")

    def __init__(
        self,
        rank: int,
        time_s: float,
        level: str,
        source: str,
        text: str,
        fields_json: str | None = None,
    ) -> None:
        self.rank = rank
        self.time_s = time_s
        """Unix time on the rank's own clock."""
        # Every line has its own copy from the wire; there are few different ones.
        self.level, self.source = sys.intern(level), sys.intern(source)
        self.number = 0
        """Its place in the ring that holds it."""
        self._text, self._fields_json = text, fields_json

    @property
    def text(self) -> str:
        """Ready to be shown: the event, then its fields as key=value, no control characters."""
        if self._fields_json is not None:
            self._text = one_line(self._text, self._fields_json)
            self._fields_json = None
        return self._text


class LogRing:
    """The last lines, oldest dropped first; a line keeps its number for ever."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._entries: deque[LogEntry] = deque(maxlen=capacity)
        self.end = 0
        """One past the number of the newest line."""

    @property
    def start(self) -> int:
        """Number of the oldest line that is still there."""
        return self.end - len(self._entries)

    def extend(self, entries: Iterable[LogEntry]) -> None:
        """Append lines."""
        for entry in entries:
            entry.number = self.end
            self._entries.append(entry)
            self.end += 1

    def between(self, first: int, end: int) -> list[LogEntry]:
        """The lines from number ``first`` up to, without, ``end``; those that are still there.

        From the nearer end of the ring: a deque's middle is far away.
        """
        first, end = max(first, self.start), min(end, self.end)
        if first - self.start < self.end - end:
            return list(islice(self._entries, first - self.start, max(end - self.start, 0)))
        newest = islice(reversed(self._entries), self.end - end, max(self.end - first, 0))
        return list(newest)[::-1]

    def get(self, number: int) -> LogEntry | None:
        """The line with this number, or None when it is gone or not there yet."""
        if not self.start <= number < self.end:
            return None
        return self._entries[number - self.start]


def entry(rank: int, line: LogLine) -> LogEntry:
    """A received line: the event, then its fields."""
    level, source = line.level or "INFO", line.source
    if level == "INFO" and source == "supervisor" and line.event in BAD_EVENTS:
        level = "WARNING"  # as among the events
    if not line.fields_json:
        return LogEntry(rank, line.time_s, level, source, printable(line.event))
    return LogEntry(rank, line.time_s, level, source, sys.intern(line.event), line.fields_json)


def event_entry(rank: int, event: Event) -> LogEntry:
    """A received event as a line; one that tells of something broken stands out."""
    level = "WARNING" if event.kind in BAD_EVENTS else "INFO"
    return LogEntry(rank, event.time_s, level, event.kind, printable(event.text))


def printable(text: str) -> str:
    """The text without control characters, which would act on the terminal."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.rstrip()


def one_line(event: str, fields_json: str) -> str:
    """Event and fields without control characters."""
    return printable(" ".join([event, *_fields(fields_json)]))


def _fields(fields_json: str) -> list[str]:
    if not fields_json:
        return []
    try:
        fields = json.loads(fields_json)
    except json.JSONDecodeError:
        return [fields_json]
    if not isinstance(fields, dict):
        return [fields_json]
    known = {key: value for key, value in fields.items() if value not in {"", None}}
    ordered = sorted(known, key=lambda key: (key in LONG_FIELDS) - (key in FIRST_FIELDS))
    return [f"{known[key]}" if key == "text" else f"{key}={known[key]}" for key in ordered]
