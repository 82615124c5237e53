"""The parts of the main screen: what each page consists of, and what paints at 4 Hz.

The style sheet decides which of them a page and a size of screen show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical
from textual.widgets import Footer

from mlxconsole.ui.chart_view import ChartView
from mlxconsole.ui.chat_view import ChatView
from mlxconsole.ui.header import Header
from mlxconsole.ui.inspector import Inspector
from mlxconsole.ui.link_table import LinkTable
from mlxconsole.ui.log_view import LogView
from mlxconsole.ui.prompt import Prompt
from mlxconsole.ui.rank_grid import RankGrid
from mlxconsole.ui.rank_table import RankTable
from mlxconsole.ui.request_table import RequestTable
from mlxconsole.ui.tabs import Tabs
from mlxconsole.ui.why_view import WhyView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.widget import Widget

    from mlxconsole.alerts import Alerts
    from mlxconsole.store import Store

Page = LogView | ChartView | RequestTable | LinkTable | ChatView | WhyView
"""What a page but the first is for."""


class Panes:
    """Every part, made once; none of them is ever taken away."""

    def __init__(self, store: Store, alerts: Alerts, *, read_only: bool) -> None:
        self.header = Header(store, alerts, read_only=read_only)
        self.tabs = Tabs()
        self.table = RankTable(store)
        self.grid = RankGrid(store)
        self.charts = ChartView(store)
        self.requests = RequestTable(store)
        self.inspector = Inspector("inspector", store, self.table)
        """Beside the charts of a large screen."""
        self.detail = Inspector("detail", store, self.table)
        """In place of the log, when asked for."""
        self.log = LogView("log", store.log, store)
        self.events = LogView("events", store.events, store)
        self.links = LinkTable(store)
        self.chat = ChatView(store)
        self.why = WhyView(store)
        self.prompt = Prompt()
        self.pages: dict[str, Page] = {
            "requests": self.requests,
            "logs": self.log,
            "links": self.links,
            "charts": self.charts,
            "events": self.events,
            "chat": self.chat,
            "why": self.why,
        }
        """What each page but the first is for."""

    def compose(self) -> Iterator[Widget]:
        """From the top of the screen to its bottom."""
        yield self.header
        yield self.tabs
        yield self.table
        yield self.grid
        beside = Vertical(self.charts, self.requests, id="beside")
        yield Horizontal(beside, self.inspector, id="middle")
        yield self.detail
        yield self.log
        yield self.events
        yield self.links
        yield self.chat
        yield self.why
        yield self.prompt
        yield Footer(show_command_palette=False, compact=True)

    def paint(self) -> None:
        """Show the store's present picture where it can be seen."""
        first = (self.header, self.table, self.grid, self.inspector, self.detail)
        # On the way out the timer may tick once more when widgets have gone already.
        for part in (*first, *self.pages.values()):
            if part.is_attached and part.is_mounted and part.display:
                part.paint()
