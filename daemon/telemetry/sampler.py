"""Takes a sample of this process four times a second, on a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.telemetry.reporter import Reporter

PERIOD_S = 0.25


class Sampler:
    """Calls ``take`` and reports its sections until it is stopped.

    ``take`` runs on the sampler's thread and must only read plain attributes: whatever it costs
    comes out of the rank's time.
    """

    def __init__(self, reporter: Reporter, take: Callable[[], Mapping[str, Any]]) -> None:
        self._reporter = reporter
        self._take = take
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end the thread."""
        self._stop.set()
        self._thread.join(PERIOD_S * 4)

    def _run(self) -> None:
        stopped = False
        while not stopped:
            stopped = self._stop.wait(PERIOD_S)
            self._reporter.sample(**self._take())
