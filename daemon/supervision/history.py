"""The recent log lines and events of a rank, and the bounded queues of those who follow them.

Owns sequence numbers and the log file. Runs on the supervisor's event loop only; knows no gRPC
service, process or pipe.
"""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, Self

from protos import control_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_LINES = 1_000
EVENTS = 200
_MAX_EVENT_TEXT = 8_000
_MAX_FIELDS_JSON = 16_000
_FRAME_BYTES = 512 * 1024  # stays far below gRPC's limit of 4 MiB a message

# A terminal must not obey what a child prints: escape sequences become visible.
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}") | {
    ord("\t"): "    ",
    ord("\n"): "\n",
}


class LogSink(Protocol):
    """Where log lines go besides the readers: a file, or stderr."""

    def write(self, line: str) -> None:
        """Take one line; never raises."""
        ...


class History:
    """Rings of log lines and events, and their fan-out."""

    def __init__(self) -> None:
        self.sink: LogSink | None = None
        self._logs: deque[control_pb2.LogLine] = deque(maxlen=LOG_LINES)
        self._events: deque[control_pb2.Event] = deque(maxlen=EVENTS)
        self._log_sequence = 0
        self._event_sequence = 0
        self._subscriptions: set[Subscription] = set()

    def log(
        self,
        level: str,
        source: str,
        event: str,
        fields: Mapping[str, Any] | None = None,
        time_s: float | None = None,
    ) -> None:
        """Add a log line; ``time_s`` is unix time, now by default."""
        self._log_sequence += 1
        line = control_pb2.LogLine(
            time_s=time.time() if time_s is None else time_s,
            level=level,
            source=source,
            event=clean(event)[:_MAX_EVENT_TEXT],
            fields_json=_fields_json(fields),
            sequence=self._log_sequence,
        )
        self._logs.append(line)
        for subscription in self._subscriptions:
            subscription.add_log(line)
        if self.sink is not None:
            self.sink.write(_file_line(line))

    def event(self, kind: str, text: str, time_s: float | None = None) -> None:
        """Add an event; it is logged as well."""
        self._event_sequence += 1
        entry = control_pb2.Event(
            time_s=time.time() if time_s is None else time_s,
            kind=kind,
            text=clean(text)[:_MAX_EVENT_TEXT],
            sequence=self._event_sequence,
        )
        self._events.append(entry)
        for subscription in self._subscriptions:
            subscription.add_event(entry)
        self.log("INFO", "supervisor", kind, {"text": text}, entry.time_s)

    def subscribe(self, history_lines: int) -> Subscription:
        """Follow from now on, beginning with the last ``history_lines`` lines and all events."""
        count = min(history_lines, LOG_LINES)
        recent = list(self._logs)[-count:] if count else []
        subscription = Subscription(self, recent, list(self._events))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a reader; twice does no harm."""
        self._subscriptions.discard(subscription)

    @property
    def readers(self) -> int:
        """How many follow."""
        return len(self._subscriptions)


class Subscription:
    """What one reader has not been sent yet; a full queue loses its oldest entry, counted."""

    def __init__(
        self, history: History, logs: list[control_pb2.LogLine], events: list[control_pb2.Event]
    ) -> None:
        self._history = history
        self._logs = deque(logs, maxlen=LOG_LINES)
        self._events = deque(events, maxlen=EVENTS)
        self._dropped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._history.unsubscribe(self)

    def add_log(self, line: control_pb2.LogLine) -> None:
        """Queue a line."""
        self._dropped += len(self._logs) == LOG_LINES
        self._logs.append(line)

    def add_event(self, entry: control_pb2.Event) -> None:
        """Queue an event."""
        self._dropped += len(self._events) == EVENTS
        self._events.append(entry)

    @property
    def waiting(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._logs or self._events)

    def take(self) -> control_pb2.WatchFrame:
        """The oldest entries, as many as one frame may hold, and the losses since the last."""
        frame = control_pb2.WatchFrame(dropped=self._dropped, events=self._events)
        self._dropped = 0
        self._events.clear()
        size = frame.ByteSize()
        while self._logs and size < _FRAME_BYTES:
            line = self._logs.popleft()
            size += line.ByteSize()
            frame.logs.append(line)
        return frame


def clean(text: str) -> str:
    """``text`` without characters that a terminal would obey or protobuf refuse."""
    return text.translate(_CONTROL).encode(errors="replace").decode()


def _fields_json(fields: Mapping[str, Any] | None) -> str:
    if not fields:
        return ""
    text = json.dumps(fields, default=str, separators=(",", ":"))
    if len(text) <= _MAX_FIELDS_JSON:
        return text
    return json.dumps({"cut": text[:_MAX_FIELDS_JSON]})


def _file_line(line: control_pb2.LogLine) -> str:
    """``2026-01-31T12:00:00.250Z INFO worker event {"field":1}`` on one line."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(line.time_s))
    millis = int(line.time_s * 1000) % 1000
    event = line.event.replace("\n", "\\n")
    return f"{stamp}.{millis:03d}Z {line.level} {line.source} {event} {line.fields_json}".rstrip()
