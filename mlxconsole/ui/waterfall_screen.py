"""The waterfall of a request, or of the last steps: asked for when opened and with `r`.

Asks every rank through the source; shows what came. Runs in the app's event loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from daemon.errors import ClusterError
from mlxconsole.ui import waterfall_text
from mlxconsole.waterfall import waterfall

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from mlxconsole.source.base import Source
    from mlxconsole.store import Store
    from protos.control_pb2 import TraceStep

BORDER = 4
HINT = "j k g G scroll, r asks again, Escape closes"


class WaterfallScreen(ModalScreen[None]):
    """Closed by the keys that leave."""

    CSS_PATH = "waterfall_screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,v", "dismiss", "Close", id="waterfall.close"),
        Binding("r", "ask", "Ask again", id="waterfall.again"),
        Binding("j", "scroll(1)", "Down", id="waterfall.down", show=False),
        Binding("k", "scroll(-1)", "Up", id="waterfall.up", show=False),
        Binding("ctrl+d", "page(1)", "Page down", id="waterfall.page_down", show=False),
        Binding("ctrl+u", "page(-1)", "Page up", id="waterfall.page_up", show=False),
        Binding("g", "scroll(-1_000_000)", "Totals, oldest step", id="waterfall.first", show=False),
        Binding("G", "scroll(1_000_000)", "Newest step", id="waterfall.last", show=False),
    ]

    def __init__(self, store: Store, source: Source, sequence: int, name: str) -> None:
        super().__init__()
        self._store, self._source = store, source
        self._sequence, self._name = sequence, name
        self._text = Static("asking every rank for its steps ...", markup=False)

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll(id="waterfall") as box:
            box.border_title, box.border_subtitle = f"Waterfall of {self._name}", HINT
            yield self._text

    def on_mount(self) -> None:
        """Ask at once."""
        self.action_ask()

    def action_ask(self) -> None:
        """Ask every rank for its steps."""
        self.run_worker(self._ask(), exclusive=True)

    def action_scroll(self, lines: int) -> None:
        """Some lines down or up."""
        self.query_one("#waterfall").scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        """Nearly as many lines as are seen."""
        self.action_scroll(pages * max(self.query_one("#waterfall").size.height - 1, 1))

    async def _ask(self) -> None:
        ranks = list(self._store.ranks)
        answers = await asyncio.gather(*map(self._trace, ranks))
        refusals = [answer for answer in answers if isinstance(answer, str)]
        if refusals:
            self._text.update("\n".join(refusals))
            return
        traces = {rank: a for rank, a in zip(ranks, answers, strict=True) if not isinstance(a, str)}
        rows = waterfall(traces, self._skews_s())
        width = self.size.width - BORDER - 2
        self._text.update("\n".join(waterfall_text.lines(rows, width)))

    async def _trace(self, rank: int) -> list[TraceStep] | str:
        try:
            return await self._source.trace(rank, self._sequence)
        except ClusterError as error:
            return f"rank {rank}: {error}"

    def _skews_s(self) -> dict[int, float]:
        """On one machine there is one clock; elsewhere what frames have shown of theirs."""
        hosts = {view.member.host for view in self._store.ranks.values()}
        if len(hosts) == 1:
            return {}
        return {rank: view.clock_skew_s or 0.0 for rank, view in self._store.ranks.items()}
