"""The peer: the same data in Textual's own DataTable, Sparkline and RichLog.

Written as its documentation shows them, with the same store, the same columns and the same 4 Hz.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from textual.app import App
from textual.widgets import DataTable, Footer, RichLog, Sparkline, Static

from mlxconsole.console_bench.console_program import cluster
from mlxconsole.source.live import LiveSource
from mlxconsole.store import Store
from mlxconsole.ui import rank_columns
from mlxconsole.ui.header import header_text

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from mlxconsole.cluster import Cluster
    from mlxconsole.log_entry import LogEntry

LOG_LINES = 20_000


class StockApp(App[None]):
    """Table, two sparklines, log."""

    CSS = """
    DataTable { height: auto; max-height: 50%; }
    Sparkline { height: 2; }
    RichLog { height: 1fr; }
    """
    BINDINGS = [("j", "down", "Down"), ("k", "up", "Up"), ("q", "quit", "Quit")]  # noqa: RUF012

    def __init__(self, watched: Cluster) -> None:
        super().__init__()
        self._source = LiveSource(watched)
        self._store = Store(watched)
        self._next_line = 0
        self._rates: list[float] = []

    def compose(self) -> ComposeResult:
        """The parts."""
        yield Static("", id="header")
        yield Static("", id="cursor")
        yield DataTable[str](cursor_type="row")
        yield Sparkline([])
        yield RichLog(max_lines=LOG_LINES)
        yield Footer()

    def on_mount(self) -> None:
        """Begin."""
        self._columns = rank_columns.fit(self.size.width)
        table = self.query_one(DataTable[str])
        for column in self._columns:
            table.add_column(column.title, key=column.title, width=column.width)
        for rank in self._store.ranks:
            table.add_row(*("" for _ in self._columns), key=str(rank))
        table.focus()
        self.run_worker(self._source.follow(self._store.apply), exit_on_error=True)
        self.set_interval(0.25, self._paint)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Say where the cursor is: a colour alone can't be found in the output."""
        self.query_one("#cursor", Static).update(f">{event.cursor_row:>4} ")

    def action_down(self) -> None:
        """Cursor down."""
        self.query_one(DataTable[str]).action_cursor_down()

    def action_up(self) -> None:
        """Cursor up."""
        self.query_one(DataTable[str]).action_cursor_up()

    def _paint(self) -> None:
        store, now_s = self._store, self._store.clock()
        table = self.query_one(DataTable[str])
        with self.batch_update():
            self.query_one("#header", Static).update(header_text(store, now_s, self.size.width))
            for rank, view in store.ranks.items():
                for column in self._columns:
                    table.update_cell(str(rank), column.title, column.cell(view, now_s))
            self._rates = [*self._rates, store.tokens_per_s(now_s) or 0.0][-2 * self.size.width :]
            self.query_one(Sparkline).data = self._rates
            log = self.query_one(RichLog)
            for entry in store.log.between(self._next_line, store.log.end):
                log.write(_line(entry))
            self._next_line = store.log.end


def _line(entry: LogEntry) -> str:
    return f"{entry.rank} {entry.source:<12} {entry.level:<7} {entry.text}"


if __name__ == "__main__":
    StockApp(cluster(sys.argv[1])).run()
