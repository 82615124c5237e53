"""One line of a log, whoever wrote it. Pure; knows no screen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protos.control_pb2 import Event, LogLine

CONSOLE = -1
"""The rank of lines that this console wrote itself."""
BAD_EVENTS = frozenset({"exit", "failed", "failing", "stuck"})
"""Kinds of events that tell of something broken."""
FIRST_FIELDS = ("status", "seconds")
"""What came of a request: before how it was asked."""
LONG_FIELDS = ("request_id", "boot_id", "logger")
"""Of less use than the others, and so long that they would push them off the screen: last."""
_MARK = "\0"
"""Between an event and its fields, and in no text that is ready to be shown."""


class LogEntry:
    """One line. Its text is put together when somebody wants to see it: most lines nobody does."""

    __slots__ = ("_raw", "level", "number", "rank", "source", "time_s")

    def __init__(
        self, rank: int, time_s: float, level: str, source: str, raw: str, number: int = -1
    ) -> None:
        self.rank = rank
        self.time_s = time_s
        """Unix time on the rank's own clock."""
        self.level, self.source = level, source
        self.number = number
        """Its place in the ring that holds it, for ever; -1 where none does."""
        self._raw = raw

    @property
    def raw(self) -> str:
        """The text, or what it will be made of."""
        return self._raw

    @property
    def text(self) -> str:
        """Ready to be shown: the event, then its fields as key=value, no control characters."""
        if _MARK in self._raw:
            self._raw = _one_line(*self._raw.split(_MARK, 1))
        return self._raw


def entry(rank: int, line: LogLine) -> LogEntry:
    """A received line: the event, then its fields."""
    level, source, event = line.level or "INFO", line.source, line.event
    if level == "INFO" and source == "supervisor" and event in BAD_EVENTS:
        level = "WARNING"  # as among the events
    if not line.fields_json:
        return LogEntry(rank, line.time_s, level, source, printable(event))
    event = event.replace(_MARK, " ")
    return LogEntry(rank, line.time_s, level, source, f"{event}{_MARK}{line.fields_json}")


def event_entry(rank: int, event: Event) -> LogEntry:
    """A received event as a line; one that tells of something broken stands out."""
    level = "WARNING" if event.kind in BAD_EVENTS else "INFO"
    return LogEntry(rank, event.time_s, level, event.kind, printable(event.text))


def printable(text: str) -> str:
    """The text without control characters, which would act on the terminal."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.rstrip()


def _one_line(event: str, fields_json: str) -> str:
    return printable(" ".join([event, *_fields(fields_json)]))


def _fields(fields_json: str) -> list[str]:
    try:
        fields = json.loads(fields_json)
    except json.JSONDecodeError:
        return [fields_json]
    if not isinstance(fields, dict):
        return [fields_json]
    known = {key: value for key, value in fields.items() if value not in {"", None}}
    ordered = sorted(known, key=lambda key: (key in LONG_FIELDS) - (key in FIRST_FIELDS))
    return [f"{known[key]}" if key == "text" else f"{key}={known[key]}" for key in ordered]
