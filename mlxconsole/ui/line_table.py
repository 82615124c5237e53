"""A table of text lines under a title, with a cursor: what the pages of links and requests share.

Painted through `render_line` (DataTable re-renders far more). Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from textual import events


class LineTable(ScrollView, can_focus=True):
    """Lines with a key each: the cursor stays on its key while lines come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor(1)", "Down", id="table.down", show=False),
        Binding("k,up", "cursor(-1)", "Up", id="table.up", show=False),
        Binding("g,home", "cursor(-1_000_000)", "First line", id="table.first", show=False),
        Binding("G,end", "cursor(1_000_000)", "Last line", id="table.last", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line-table--{part}" for part in ("title", "text", "bad", "dim", "cursor")
    }

    cursor: reactive[int] = reactive(0)
    """Index of the selected line."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._title = ""
        self._lines: list[tuple[str, str, str]] = []

    @property
    def selected(self) -> str:
        """The key of the line under the cursor; empty if there is none."""
        return self._lines[self.cursor][0] if self.cursor < len(self._lines) else ""

    def show(self, title: str, lines: list[tuple[str, str, str]]) -> None:
        """Take lines of (key, text, tone); repaint those that changed."""
        key, before = self.selected, self._lines
        whole = title != self._title or len(lines) != len(before)
        self._title, self._lines = title, lines
        keys = [line[0] for line in lines]
        self.cursor = keys.index(key) if key in keys else self.cursor
        if whole:
            self.virtual_size = Size(self.size.width, len(lines) + 1)
            self.refresh()
            return
        first = self.scroll_offset.y
        for y in range(1, min(self.size.height, 1 + len(lines) - first)):
            if lines[first + y - 1] != before[first + y - 1]:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window: the title, then lines from the scroll position on."""
        width, index = self.size.width, y - 1 + self.scroll_offset.y
        mark, text, part = " ", "", "text"
        if y == 0:
            text, part = self._title, "title"
        elif index < len(self._lines):
            _, text, part = self._lines[index]
            mark = ">" if index == self.cursor else " "
        style = self.get_component_rich_style(f"line-table--{part}")
        if mark == ">":
            style += self.get_component_rich_style("line-table--cursor")
        return Strip([Segment(mark + text, style)]).adjust_cell_length(width, style)

    def action_cursor(self, step: int) -> None:
        """Move the cursor by ``step`` lines."""
        self.cursor += step

    def validate_cursor(self, index: int) -> int:
        """Stay on a line."""
        return max(0, min(index, len(self._lines) - 1))

    def watch_cursor(self) -> None:
        """Keep the selected line in sight; the title covers one line."""
        region = Region(0, self.cursor, 1, 2)
        self.scroll_to_region(region, animate=False, force=True, immediate=True)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Select the line under the mouse."""
        if event.y > 0:
            self.cursor = event.y - 1 + self.scroll_offset.y
