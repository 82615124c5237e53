"""The main screen: header, rank table, merged log; and what its keys do.

Reads the store, asks the source for actions. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from daemon.errors import ClusterError
from mlxconsole.ui.header import Header
from mlxconsole.ui.help_screen import HelpScreen
from mlxconsole.ui.log_view import LogView
from mlxconsole.ui.rank_table import RankTable
from mlxconsole.ui.restart_dialog import RestartDialog

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from mlxconsole.source.base import Source
    from mlxconsole.store import Store


class MainScreen(Screen[None]):
    """Everything on one page."""

    AUTO_FOCUS = "#ranks"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?", id="help.open"),
        Binding("f", "follow", "Follow log", id="log.follow"),
        Binding("tab", "app.focus_next", "Other pane", id="pane.next"),
        Binding("R", "restart", "Restart rank", id="rank.restart"),
        Binding("q", "app.quit", "Quit", id="app.quit"),
    ]

    def __init__(self, store: Store, source: Source) -> None:
        super().__init__()
        self._store = store
        self._source = source
        self._header = Header(store)
        self._table = RankTable(store)
        self._log = LogView(store)

    def compose(self) -> ComposeResult:
        """Header, ranks, log, keys."""
        yield self._header
        yield self._table
        yield self._log
        yield Footer(show_command_palette=False, compact=True)

    def paint(self) -> None:
        """Show the store's present picture."""
        # On the way out the timer may tick once more when widgets have gone already.
        for part in (self._header, self._table, self._log):
            if part.is_attached and part.is_mounted:
                part.paint()

    def action_help(self) -> None:
        """List all keys."""
        self.app.push_screen(
            HelpScreen(
                {
                    "Everywhere": MainScreen.BINDINGS,
                    "Ranks": RankTable.BINDINGS,
                    "Log": LogView.BINDINGS,
                    "Restart dialog": RestartDialog.BINDINGS,
                }
            )
        )

    def action_follow(self) -> None:
        """Follow the end of the log, or stop."""
        self._log.action_follow()

    def action_restart(self) -> None:
        """Ask, then restart the selected rank in the generation that the operator saw."""
        view = self._table.selected
        if view is None or view.status is None or view.contact != "live":
            self.notify("Nothing to restart: no contact with this rank", severity="warning")
            return
        rank, generation = view.member.rank, view.status.generation

        def decided(confirmed: bool | None) -> None:
            if confirmed:
                self.run_worker(self._restart(rank, generation))

        self.app.push_screen(RestartDialog(rank, generation, self._store.sequences()), decided)

    async def _restart(self, rank: int, generation: int) -> None:
        try:
            answer = await self._source.restart(rank, generation)
        except ClusterError as error:
            self._store.note(f"restart of rank {rank} refused: {error}", "ERROR")
            self.notify(
                str(error), title=f"Rank {rank} not restarted", severity="error", markup=False
            )
        else:
            self._store.note(f"restart of rank {rank}: {answer}", "INFO")
            self.notify(answer, title=f"Rank {rank}", markup=False)
