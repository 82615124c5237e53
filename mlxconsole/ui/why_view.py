"""The page "why": what sets the pace, when memory is full, which rank is the odd one out.

Reads the store through `insight` once a second while it is shown. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mlxconsole.ui import why_text

if TYPE_CHECKING:
    from mlxconsole.store import Store

INTERVAL_S = 1.0


class WhyView(ScrollView, can_focus=True):
    """Sentences and one bar per rank."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", id="why.down", show=False),
        Binding("k,up", "scroll_up", "Up", id="why.up", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"why-view--{part}" for part in ("title", "culprit", "text")
    }

    def __init__(self, store: Store) -> None:
        super().__init__(id="why")
        self._store = store
        self._lines: list[why_text.Line] = []
        self._looked: tuple[float, int] = (float("-inf"), 0)

    def paint(self) -> None:
        """Look again if a second has passed, or the moment or the width is another one."""
        moment = (self._store.shown_at_s(), self.size.width)
        if moment[1] == self._looked[1] and 0 <= moment[0] - self._looked[0] < INTERVAL_S:
            return
        self._looked = moment
        lines = why_text.lines(self._store, self.size.width)
        if lines != self._lines:
            self._lines = lines
            self.virtual_size = Size(self.size.width, len(lines))
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window."""
        width, index = self.size.width, y + self.scroll_offset.y
        part, text = self._lines[index] if index < len(self._lines) else ("text", "")
        style = self.get_component_rich_style(f"why-view--{part}")
        return Strip([Segment(text or " ", style)]).adjust_cell_length(width, style)

    def on_resize(self) -> None:
        """Draw for the new width."""
        self.paint()
