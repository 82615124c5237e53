"""The rank table's dense forms, for many ranks: `z` goes from one to the next.

Reads the store; painted line by line. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mlxconsole.ui import rank_density

if TYPE_CHECKING:
    from mlxconsole.store import Store

FORMS = ("table", "4-up", "columns")
"""The table is another widget."""


class RankGrid(ScrollView, can_focus=False):
    """All ranks, worst first."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"rank-grid--{part}" for part in ("title", "text", "good", "busy", "bad", "dim")
    }

    def __init__(self, store: Store) -> None:
        super().__init__(id="grid")
        self._store = store
        self._lines: list[list[rank_density.Part]] = []
        self.form = FORMS[1]

    def paint(self) -> None:
        """Take the store's picture; repaint only if a character of it changed."""
        views, now_s = list(self._store.shown.values()), self._store.shown_at_s()
        draw = rank_density.columns if self.form == FORMS[2] else rank_density.four_up
        # Just shown, it has no size yet, and without lines it would get none.
        width = self.size.width or self.app.size.width
        lines = draw(views, width, now_s)
        if lines != self._lines:
            self._lines = lines
            self.virtual_size = Size(width, len(lines))
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window."""
        width, index = self.size.width, y + self.scroll_offset.y
        base = self.get_component_rich_style("rank-grid--text")
        line = self._lines[index] if index < len(self._lines) else []
        parts = [
            Segment(text, self.get_component_rich_style(f"rank-grid--{tone}"))
            for text, tone in line or [(" ", "text")]
        ]
        return Strip(parts).adjust_cell_length(width, base)

    def on_resize(self) -> None:
        """Draw for the new width."""
        self.paint()
