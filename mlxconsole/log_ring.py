"""The merged log of all ranks: bounded, and numbered so that views keep their place.

Pure; knows no screen.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protos.control_pb2 import Event, LogLine

CAPACITY = 20_000
CONSOLE = -1
"""The rank of lines that this console wrote itself."""
BAD_EVENTS = frozenset({"exit", "failed", "failing", "stuck"})
"""Kinds of events that tell of something broken."""
FIRST_FIELDS = ("status", "seconds")
"""What came of a request: before how it was asked."""
LONG_FIELDS = ("request_id", "boot_id", "logger")
"""Of less use than the others, and so long that they would push them off the screen: last."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line, ready to be shown."""

    rank: int
    time_s: float
    """Unix time on the rank's own clock."""
    level: str
    source: str
    text: str


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
            self._entries.append(entry)
            self.end += 1

    def get(self, number: int) -> LogEntry | None:
        """The line with this number, or None when it is gone or not there yet."""
        if not self.start <= number < self.end:
            return None
        return self._entries[number - self.start]


def entry(rank: int, line: LogLine) -> LogEntry:
    """A received line as text: the event, then its fields as key=value."""
    level = line.level or "INFO"
    if level == "INFO" and line.source == "supervisor" and line.event in BAD_EVENTS:
        level = "WARNING"  # as among the events
    return LogEntry(rank, line.time_s, level, line.source, one_line(line))


def event_entry(rank: int, event: Event) -> LogEntry:
    """A received event as a line; one that tells of something broken stands out."""
    level = "WARNING" if event.kind in BAD_EVENTS else "INFO"
    return LogEntry(rank, event.time_s, level, event.kind, printable(event.text))


def printable(text: str) -> str:
    """The text without control characters, which would act on the terminal."""
    return "".join(c if c.isprintable() else " " for c in text).rstrip()


def one_line(line: LogLine) -> str:
    """Event and fields without control characters."""
    return printable(" ".join([line.event, *_fields(line.fields_json)]))


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
