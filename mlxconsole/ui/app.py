"""The console application: follows the source into the store, paints the store at 4 Hz.

Owns the event loop, the signals and the terminal while it runs.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from textual.app import App

from mlxconsole.alerts import Alerts
from mlxconsole.log_entry import printable
from mlxconsole.recording.flight import FlightRecorder
from mlxconsole.store import Store
from mlxconsole.ui.ascii_filter import AsciiFilter
from mlxconsole.ui.look import COLOUR_BLIND, Look
from mlxconsole.ui.main_screen import MainScreen
from mlxconsole.ui.paint_pace import INTERVAL_S, PaintPace
from mlxconsole.ui.terminal import GONE, end_without_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.command import Provider
    from textual.filter import LineFilter

    from mlxconsole.alert_settings import AlertSettings
    from mlxconsole.source.base import Source, Update

MOST_WRITES = 1
"""Writes that may wait for the terminal; one is the rule while it reads."""
LEAVE_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class ConsoleApp(App[None]):
    """The whole console on one cluster."""

    TITLE = "mlxconsole"
    CSS_PATH = "main_screen.tcss"  # Textual loads no CSS of a default screen
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = (
        set()
    )  # the screen brings its own

    def __init__(
        self,
        source: Source,
        store: Store | None = None,
        alerts: AlertSettings | None = None,
        look: Look | None = None,
    ) -> None:
        super().__init__()
        self.look_of = look or Look()
        self._ascii = AsciiFilter(enabled=self.look_of.ascii)
        self.register_theme(COLOUR_BLIND)
        if self.look_of.theme:
            self.theme = self.look_of.theme
        self.source = source
        self.store = store or Store(source.cluster)
        self.alerts = Alerts(self.store, alerts)
        self.alerts.on_new = self._signal
        self.flight = FlightRecorder(source.cluster, self.store.clock, self.store.wall_clock)
        """The last minutes, for a capsule."""
        self._looked_s = float("-inf")
        self._pace = PaintPace()

    def get_default_screen(self) -> MainScreen:
        """The main screen is the bottom of the stack."""
        return MainScreen(self.store, self.source, self.alerts, self.flight)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, and ours for terminals without Unicode."""
        found = super().get_line_filters()
        return [*found, self._ascii] if self._ascii.enabled else found

    def on_mount(self) -> None:
        """Begin to follow and to paint; leave in order when told to."""
        self.run_worker(self.source.follow(self.take), exit_on_error=True)
        self.set_interval(INTERVAL_S, self._tick)
        if not self.is_headless:
            # What is here now stays: full collections, which hold the loop, need not look at it.
            gc.freeze()
            loop = asyncio.get_running_loop()
            for number in LEAVE_SIGNALS:
                loop.add_signal_handler(number, self.leave, 128 + number)
            end_without_terminal(lambda: self._leave_from_thread(loop))

    def take(self, update: Update) -> None:
        """Take in an update; a recording that hurries has its alerts and pictures, too."""
        self.flight.take(update)
        self.store.apply(update)
        if self.store.clock() - self._looked_s >= INTERVAL_S:
            self.look()

    def look(self) -> None:
        """See what has become of the alerts, and keep the moment."""
        self._looked_s = self.store.clock()
        self.alerts.look()
        self.store.timeline.record(self.store)

    def _signal(self, text: str) -> None:
        """Make a new alert known beyond the screen, as far as the operator wants that."""
        signals = self.alerts.settings.signals
        if signals.bell:
            self.bell()
        if signals.notify and self._driver is not None:
            self._driver.write(f"\x1b]9;mlxconsole: {printable(text)}\x07")

    def _tick(self) -> None:
        """Paint if it is time, and learn what that costs."""
        if not self._pace.is_due(time.monotonic()):
            self.look()
            return
        began_s, used_s = time.monotonic(), time.thread_time()
        self.paint()
        # The screen writes what was painted after this call: that costs as much again.
        self.call_after_refresh(lambda: self._pace.painted(began_s, time.thread_time() - used_s))

    def paint(self) -> None:
        """One frame: everything that changed since the last, written at once."""
        self.look()
        if self._writing():
            return
        main = self.screen_stack[0]
        if isinstance(main, MainScreen) and main.is_mounted:
            with self.batch_update():
                main.paint()

    def _writing(self) -> bool:
        """Whether the terminal is behind: a paint would only stand in line before the next key."""
        thread = getattr(self._driver, "_writer_thread", None)
        return thread is not None and thread._queue.qsize() > MOST_WRITES  # noqa: SLF001 - Textual has no other way

    def leave(self, return_code: int) -> None:
        """End the app and give the terminal back."""
        self.exit(return_code=return_code)

    def _leave_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(self.leave, GONE)
