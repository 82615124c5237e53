"""The child's end of the report pipe: states, samples, events and log lines as JSON lines.

Any thread may report; one thread of its own writes. Reporting never blocks and never raises: a
supervisor that is slow or gone must not hurt the work. Knows nothing of who reads.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUE_LINES = 1_000
ALIVE_S = 0.5
"""With nothing to say, it says at least so often that this process runs Python."""
_MAX_TEXT = 8_000  # characters of one log text; a traceback fits


class Reporter:
    """A bounded queue of lines and the thread that writes them to ``fd``.

    A full queue loses its oldest log line (or its oldest line, if none is a log line); the loss
    is counted in every sample as `log_lines_dropped`. The reporter owns ``fd`` from now on.
    """

    def __init__(self, fd: int, boot_id: str) -> None:
        self._fd = fd
        self._boot_id = boot_id
        self._lines: deque[dict[str, Any]] = deque()
        # Re-entrant: a signal handler may report while its own thread is in here.
        self._changed = threading.Condition(threading.RLock())
        self._closing = False
        self.dropped = 0
        self._written_s = 0.0
        """Processor time of the writing thread."""
        self._thread = threading.Thread(target=self._write_lines, name="reporter", daemon=True)
        self._thread.start()

    def state(self, state: str, reason: str = "", **details: Any) -> None:
        """Say where this process is in its life: a `RankState` name, and why."""
        self._put({"kind": "state", "state": state, "reason": reason, **details})

    def sample(self, **sections: Any) -> None:
        """Report measurements; the calling thread's processor time counts as telemetry's.

        Args:
            sections: any of memory, counters, progress (mappings with the field names of
                control.proto), layers (lo, hi), histograms (by name), links (mappings), requests
                (rows and total), build, and the gauges of RankStatus by name.
        """
        spent_s = time.thread_time() + self._written_s
        counters = {
            **sections.pop("counters", {}),
            "log_lines_dropped": self.dropped,
            "telemetry_s": round(spent_s, 6),
        }
        self._put({"kind": "sample", "counters": counters, **sections})

    def log(self, level: str, event: str, /, **fields: Any) -> None:
        """Report one log line."""
        self._put(
            {
                "kind": "log",
                "time": time.time(),
                "level": level,
                "event": event[:_MAX_TEXT],
                "fields": fields,
            }
        )

    def event(self, kind: str, text: str) -> None:
        """Report something worth an entry in the rank's history, such as a new epoch."""
        self._put({"kind": "event", "event": kind, "text": text, "time": time.time()})

    def answer(self, command: int, rows: Sequence[Sequence[Any]]) -> None:
        """Answer a command of the supervisor, by its number."""
        self._put({"kind": "answer", "command": command, "rows": rows})

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is queued, for at most ``timeout_s``, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _put(self, line: dict[str, Any]) -> None:
        with self._changed:
            if self._closing:
                return
            if len(self._lines) >= QUEUE_LINES:
                self._drop_one()
            self._lines.append(line)
            self._changed.notify()

    def _drop_one(self) -> None:
        oldest = next((i for i, line in enumerate(self._lines) if line["kind"] == "log"), 0)
        del self._lines[oldest]
        self.dropped += 1

    def _write_lines(self) -> None:
        alive = True
        while (line := self._next_line()) is not None:
            if alive:
                alive = self._write(line)
            self._written_s = time.thread_time()
        os.close(self._fd)

    def _next_line(self) -> dict[str, Any] | None:
        """The oldest line, a sign of life if there is none in time; None when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closing, ALIVE_S)
            if self._lines:
                return self._lines.popleft()
            return None if self._closing else {"kind": "alive"}

    def _write(self, line: dict[str, Any]) -> bool:
        """Whether anybody still reads."""
        try:
            text = json.dumps({**line, "boot_id": self._boot_id}, default=str)
        except (TypeError, ValueError, RecursionError) as error:
            text = json.dumps({"kind": "log", "level": "ERROR", "event": f"bad report: {error}"})
        data = memoryview(text.encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return False
        return True


class ReportHandler(logging.Handler):
    """Sends log records to the supervisor; `extra={"fields": {...}}` become its fields."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """Report one record, a traceback among its fields."""
        try:
            event, fields = record_event(record)
            self._reporter.log(record.levelname, event, **fields)
        except (TypeError, ValueError):
            self.handleError(record)  # a wrong format string or field: says so on stderr


def record_event(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Event name and fields of a record.

    Raises:
        TypeError, ValueError: the record's arguments don't fit its format.
    """
    fields: dict[str, Any] = {**getattr(record, "fields", {}), "logger": record.name}
    if record.exc_info and record.exc_info[0] is not None:
        formatted = logging.Formatter().formatException(record.exc_info)
        fields["exception"] = formatted[-_MAX_TEXT:]
    return record.getMessage(), fields


def install_logging(reporter: Reporter, level: str = "INFO") -> None:
    """Make ``reporter`` the only destination of this process's log records."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(ReportHandler(reporter))
    root.setLevel(level)
    logging.captureWarnings(capture=True)
