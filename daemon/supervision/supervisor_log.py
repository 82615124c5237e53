"""The supervisor's own log records as lines of its history, from whatever thread they come."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from daemon.telemetry.reporter import record_event

if TYPE_CHECKING:
    import asyncio

    from daemon.supervision.history import History


class SupervisorLog(logging.Handler):
    """A handler on the root logger while the `with` block runs."""

    def __init__(self, history: History, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._history = history
        self._loop = loop
        self._loop_thread = threading.get_ident()

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Add one record; history lives on the loop's thread."""
        try:
            event, fields = record_event(record)
        except (TypeError, ValueError):
            self.handleError(record)
            return
        if threading.get_ident() == self._loop_thread:
            self._history.log(record.levelname, "supervisor", event, fields)
            return
        with suppress(RuntimeError):  # the loop is closed: nobody will read it
            self._loop.call_soon_threadsafe(
                self._history.log, record.levelname, "supervisor", event, fields
            )
