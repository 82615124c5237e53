"""The main screen: header, pages, prompt; and what its keys do.

Reads the store, asks the source for actions. Runs in the app's event loop.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive
from textual.screen import Screen

from mlxconsole.log_selection import compiled
from mlxconsole.ui.acting import Acting
from mlxconsole.ui.action_dialog import ActionDialog
from mlxconsole.ui.capsule_export import CapsuleExport
from mlxconsole.ui.chat_view import ChatView
from mlxconsole.ui.commands import Command, Palette, commands, named
from mlxconsole.ui.help_screen import HelpScreen
from mlxconsole.ui.log_view import LogView
from mlxconsole.ui.look import THEMES
from mlxconsole.ui.main_keys import KEYS
from mlxconsole.ui.panes import Panes
from mlxconsole.ui.prompt import Prompt
from mlxconsole.ui.rank_grid import FORMS
from mlxconsole.ui.rank_table import RankTable
from mlxconsole.ui.request_table import RequestTable
from mlxconsole.ui.tabs import PAGES
from mlxconsole.ui.text_view import TextView
from mlxconsole.ui.waterfall_screen import WaterfallScreen

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from mlxconsole.alerts import Alerts
    from mlxconsole.recording.flight import FlightRecorder
    from mlxconsole.source.base import ActionName, Source
    from mlxconsole.store import Store


BROAD = 180
"""Cells of width that have room for the inspector beside the charts."""
CHANGES = frozenset({"act", "cancel_request"})
"""Actions that change the cluster."""


class MainScreen(Screen[None]):
    """All pages on one cluster; they share the cursor, the filter and the place."""

    AUTO_FOCUS = "#ranks"
    COMMANDS: ClassVar = {Palette}
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - as Textual declares
    VERTICAL_BREAKPOINTS = [(0, "-low"), (15, "-tall"), (36, "-high"), (56, "-highest")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    page: reactive[str] = reactive(PAGES[0], init=False)
    """Which page is shown."""

    def __init__(
        self, store: Store, source: Source, alerts: Alerts, flight: FlightRecorder
    ) -> None:
        super().__init__(classes=f"page-{PAGES[0]}")
        self._store, self._source, self._alerts = store, source, alerts
        self._timeline = store.timeline
        self._playback = store.playback
        self._read_only = source.read_only
        self._panes = panes = Panes(store, alerts, read_only=source.read_only)
        self._table, self._grid = panes.table, panes.grid
        self._log, self._events = panes.log, panes.events
        self._requests, self._links = panes.requests, panes.links
        self._prompt = panes.prompt
        self._acting = Acting(self, store, source)
        self._capsule = CapsuleExport(self, store, flight)

    @property
    def shown_log(self) -> LogView:
        """The log that keys are about."""
        return self._events if self.page == "events" else self._log

    def compose(self) -> ComposeResult:
        """Header, pages, prompt, keys; the style sheet shows what belongs to the page."""
        yield from self._panes.compose()

    def paint(self) -> None:
        """Show the store's present picture."""
        self._panes.paint()

    def commands(self) -> list[Command]:
        """All that can be done here now."""
        page = self._panes.pages.get(self.page)
        text = page if isinstance(page, TextView) else self._panes.detail
        return [
            *commands(self, MainScreen.BINDINGS),
            *commands(self._table, RankTable.BINDINGS),
            *commands(self.shown_log, LogView.BINDINGS),
            *commands(text, TextView.BINDINGS),
            *commands(self._requests, RequestTable.BINDINGS),
            *commands(self._panes.chat, ChatView.BINDINGS),
        ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A read-only console has no actions: no key, no name, no place in the footer.

        Where one writes, `/` is a letter.
        """
        if action == "filter" and self.page == "chat":
            return False
        if action == "detail" and self.page != PAGES[0]:
            return False
        return not (self._read_only and action in CHANGES)

    def watch_page(self, old: str, new: str) -> None:
        """Show the page's parts and put the focus on its first."""
        self.set_class(False, f"page-{old}")
        self.set_class(True, f"page-{new}")
        self._panes.tabs.page = new
        self._panes.charts.beside = new == PAGES[0]
        self._panes.pages.get(new, self._table).focus()
        self.refresh_bindings()
        self.call_after_refresh(self.paint)

    def on_resize(self, event: events.Resize) -> None:
        """Make room for the inspector where there is some."""
        self.set_class(event.size.width >= BROAD, "broad")

    def action_page(self, page: str) -> None:
        """Go to a page."""
        self.page = page

    def action_help(self) -> None:
        """List all keys."""
        sections = {
            "Everywhere": MainScreen.BINDINGS,
            "Ranks": RankTable.BINDINGS,
            "Log and events": LogView.BINDINGS,
            "Charts, detail, why": TextView.BINDINGS,
            "Requests and links": RequestTable.BINDINGS,
            "Chat": ChatView.BINDINGS,
            "Waterfall": WaterfallScreen.BINDINGS,
            "Filter and command line": Prompt.BINDINGS,
            "Dialogs": ActionDialog.BINDINGS,
        }
        self.app.push_screen(HelpScreen(sections))

    async def action_on_log(self, action: str) -> None:
        """Do something with the log that is shown."""
        await self.app.run_action(action, self.shown_log)

    def action_filter(self) -> None:
        """Ask for a pattern; what it finds shows while it is typed."""
        if self.page == "requests":
            self._prompt.ask("/ regular expression", "", self._requests.find, self._requests.find)
            return
        log, before = self.shown_log, self.shown_log.wanted

        def show(text: str) -> None:
            try:
                pattern = compiled(text)
            except re.error:
                return
            log.choose(replace(log.wanted, pattern=pattern), log.selection.until)

        def take(text: str) -> None:
            try:
                compiled(text)
            except re.error as error:
                log.choose(before, log.selection.until)
                self.notify(f"{text}: {error}", title="No pattern", severity="error", markup=False)

        value = before.pattern.pattern if before.pattern else ""
        self._prompt.ask("/ regular expression; n N go to matches, h hides", value, take, show)

    def action_command(self) -> None:
        """Ask for a command's name and run it."""
        known = self.commands()

        def take(text: str) -> None:
            found = named(text.strip(), known) if text.strip() else None
            if isinstance(found, Command):
                self.run_worker(found.run())
            elif found:
                self.notify(found, severity="error", markup=False)

        names = sorted(command.name for command in known)
        self._prompt.ask(": command; right arrow completes", "", take, suggestions=names)

    def action_only_rank(self) -> None:
        """Show the lines of the selected rank only, or all again; or those of a request."""
        if self.page == "requests":
            self._show_lines_of(self._requests.selected)
            return
        log, view = self.shown_log, self._table.selected
        rank = None if log.wanted.rank is not None or view is None else view.member.rank
        log.choose(replace(log.wanted, rank=rank), log.selection.until)

    def action_detail(self) -> None:
        """Show all about the selected rank in place of the log, or the log again."""
        self.toggle_class("detail")
        if not self.has_class("detail"):
            self._table.focus()
        self.call_after_refresh(self.paint)

    def action_back(self) -> None:
        """Take back one thing: the detail, then the pattern, then the rank, then the page."""
        log = self.shown_log
        if self.page == PAGES[0] and self.has_class("detail"):
            self.action_detail()
        elif log.wanted.pattern:
            log.choose(replace(log.wanted, pattern=None), log.selection.until)
        elif log.wanted.rank is not None:
            log.choose(replace(log.wanted, rank=None), log.selection.until)
        else:
            self.page = PAGES[0]

    def action_rewind(self, seconds: int) -> None:
        """Show an earlier, or later, moment: ranks, logs, events and charts together.

        Later than what a recording has shown is where it goes on to.
        """
        if self._playback and not self._timeline.shown and seconds > 0:
            self._playback.skip(seconds)
            return
        self._timeline.move(seconds)
        self._show_moment()

    def action_pause(self) -> None:
        """Hold the log, or a recording, or let it go on; from the past, back to now."""
        if self._timeline.shown:
            self.action_live()
        elif self._playback:
            self._playback.paused = not self._playback.paused
        else:
            self.shown_log.action_pause()

    def action_speed(self, steps: int) -> None:
        """Play a recording faster or slower."""
        if self._playback is None:
            self.notify("This is live: only recordings have a speed", severity="warning")
        else:
            self._playback.change_speed(steps)

    async def action_export(self) -> None:
        """Write the last minutes of everything into a file."""
        await self._capsule.write()

    def action_acknowledge(self) -> None:
        """Take note of the alerts: the header counts only new ones."""
        count = self._alerts.acknowledge()
        self.notify(f"{count} acknowledged: page 6 lists them" if count else "No new alert")

    def action_density(self) -> None:
        """The table of ranks, then four to a line, then a column each."""
        now = self._grid.form if self.has_class("dense") else FORMS[0]
        form = FORMS[(FORMS.index(now) + 1) % len(FORMS)]
        self.set_class(form != FORMS[0], "dense")
        self._grid.form = form
        self.call_after_refresh(self.paint)

    def action_waterfall(self) -> None:
        """Show steps across the ranks: those of the selected request, the oldest, or all."""
        rows = [row for row in self._store.shown_requests.rows if row.sequence]
        selected = self._requests.selected if self.page == "requests" else ""
        request = next((r for r in rows if r.id == selected), next(iter(rows), None))
        name = f"request {request.id}" if request else "the last steps"
        sequence = request.sequence if request else 0
        self.app.push_screen(WaterfallScreen(self._store, self._source, sequence, name))

    def action_live(self) -> None:
        """Show what is now."""
        self._timeline.shown = None
        self._show_moment()

    def _show_moment(self) -> None:
        past = self._timeline.shown
        self._log.choose(self._log.wanted, past.log_end if past else None)
        self._events.choose(self._events.wanted, past.events_end if past else None)
        self.paint()

    def action_act(self, name: ActionName) -> None:
        """Ask, then do something to the tagged ranks, or to the one under the cursor."""
        if self._timeline.shown:
            self.notify("This is the past: 0 goes back to now", severity="warning")
        else:
            self._acting.ask(name, self._table.chosen)

    def action_cancel_request(self) -> None:
        """Ask, then cancel the request under the cursor."""
        row = self._requests.row() if self.page == "requests" else None
        if self._timeline.shown:
            self.notify("This is the past: 0 goes back to now", severity="warning")
        elif row is None:
            self.notify("Choose a request on page 2 first", severity="warning")
        else:
            self._acting.cancel(row)

    def action_copy(self) -> None:
        """Hand what the cursor is on to the terminal's clipboard."""
        lines = {"requests": self._requests.selected, "links": self._links.selected}
        view = self._table.selected
        text = lines.get(self.page) or (f"{view.member.host}:{view.member.port}" if view else "")
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied {text}", markup=False)

    def action_theme(self) -> None:
        """The next set of colours."""
        now = THEMES.index(self.app.theme) if self.app.theme in THEMES else -1
        self.app.theme = THEMES[(now + 1) % len(THEMES)]

    def action_zoom(self, alone: bool) -> None:
        """Show the focused pane alone, or all of the page again."""
        if alone and self.focused is not None:
            self.maximize(self.focused, container=False)
        else:
            self.minimize()

    def on_request_table_chosen(self, event: RequestTable.Chosen) -> None:
        """Go to the log lines of a request."""
        self._show_lines_of(event.request_id)

    def _show_lines_of(self, request_id: str) -> None:
        if request_id:
            pattern = compiled(re.escape(request_id.partition("/")[0]))
            self._log.choose(replace(self._log.wanted, pattern=pattern), self._log.selection.until)
            self.page = "logs"
