"""Lines of text that scroll: what the charts, the page "why" and the inspector share.

A line is a part, which decides its style, and its text. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

Line = tuple[str, str]
"""Part (a key of the component classes) and text."""
EMPTY: Line = ("text", "")


class TextView(ScrollView, can_focus=True):
    """A window on lines; whoever inherits brings them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", id="text.down", show=False),
        Binding("k,up", "scroll_up", "Up", id="text.up", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"text-view--{part}" for part in ("text", "title", "bars", "culprit", "bad", "dim")
    }

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._lines: list[Line] = []

    def show(self, lines: list[Line]) -> None:
        """Take new lines; repaint those that changed."""
        before, self._lines = self._lines, lines
        if len(before) != len(lines):
            self.virtual_size = Size(self.size.width, len(lines))
            self.refresh()
            return
        first = self.scroll_offset.y
        for y in range(min(self.size.height, len(lines) - first)):
            if lines[first + y] != before[first + y]:
                self.refresh(Region(0, y, self.size.width, 1))

    def paint(self) -> None:
        """Bring the lines up to date."""
        raise NotImplementedError

    def line(self, index: int) -> Line:
        """The line at a place; empty below the last."""
        return self._lines[index] if index < len(self._lines) else EMPTY

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window."""
        part, text = self.line(y + self.scroll_offset.y)
        style = self.get_component_rich_style(f"text-view--{part}")
        return Strip([Segment(text or " ", style)]).adjust_cell_length(self.size.width, style)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.paint()
