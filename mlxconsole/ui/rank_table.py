"""The rank table: one painted line per rank and a cursor that stays on its rank.

Painted through `render_line` with a cache, not a DataTable, whose caches fall with every changed
cell (docs/decisions/0502). Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mlxconsole.ui import rank_columns

if TYPE_CHECKING:
    from rich.style import Style
    from textual import events

    from mlxconsole.store import RankView, Store

Row = tuple[bool, str, str, str, str]
"""Whether it is tagged, then the text before, of and after the state, then the tone."""


class RankTable(ScrollView, can_focus=True):
    """Every rank of the cluster, one line each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor(1)", "Down", id="ranks.down", show=False),
        Binding("k,up", "cursor(-1)", "Up", id="ranks.up", show=False),
        Binding("g,home", "cursor_to(0)", "First rank", id="ranks.first", show=False),
        Binding("G,end", "cursor_to(-1)", "Last rank", id="ranks.last", show=False),
        Binding("space", "tag", "Tag for an action", id="ranks.tag", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"rank-table--{part}" for part in ("title", "text", "good", "busy", "bad", "dim", "cursor")
    }

    cursor: reactive[int] = reactive(0)
    """Index of the selected line."""

    def __init__(self, store: Store) -> None:
        super().__init__(id="ranks")
        self._store = store
        self._rows: tuple[Row, ...] = ()
        self.tagged: set[int] = set()
        """Ranks that actions are about, together."""
        self._title = ""
        self._cache: LRUCache[tuple[Row | str, int, bool], Strip] = LRUCache(512)

    @property
    def selected(self) -> RankView | None:
        """The rank under the cursor."""
        views = list(self._store.ranks.values())
        return views[self.cursor] if self.cursor < len(views) else None

    @property
    def chosen(self) -> list[RankView]:
        """The ranks that an action is about: those tagged, else the one under the cursor."""
        tagged = [v for rank, v in self._store.ranks.items() if rank in self.tagged]
        selected = self.selected
        return tagged or ([selected] if selected else [])

    def paint(self) -> None:
        """Take the store's present picture; repaint only if a character of it changed."""
        columns, now_s = rank_columns.fit(self.size.width), self._store.shown_at_s()
        rows = tuple(
            (
                rank in self.tagged,
                *rank_columns.row(view, columns, now_s),
                rank_columns.tone(view),
            )
            for rank, view in self._store.shown.items()
        )
        title = rank_columns.titles(columns)
        if (rows, title) == (self._rows, self._title):
            return
        self._rows, self._title = rows, title
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window: the titles, then ranks from the scroll position on."""
        width, index = self.size.width, y - 1 + self.scroll_offset.y
        if y == 0:
            return self._strip(self._title, width, cursor=False)
        if index >= len(self._rows):
            return Strip([Segment(" " * width, self._style("text"))])
        return self._strip(self._rows[index], width, cursor=index == self.cursor)

    def action_cursor(self, step: int) -> None:
        """Move the cursor by ``step`` ranks."""
        self.cursor += step

    def action_cursor_to(self, index: int) -> None:
        """Move the cursor to the first (0) or last (-1) rank."""
        self.cursor = index % len(self._store.ranks)

    def action_tag(self) -> None:
        """Mark the rank, or take its mark back: actions are about all marked ones."""
        if self.selected is not None:
            self.tagged ^= {self.selected.member.rank}
            self.paint()

    def validate_cursor(self, index: int) -> int:
        """Stay on a rank."""
        return max(0, min(index, len(self._store.ranks) - 1))

    def watch_cursor(self) -> None:
        """Keep the selected line in sight; the titles cover one line."""
        self.scroll_to_region(
            Region(0, self.cursor, 1, 2), animate=False, force=True, immediate=True
        )
        self.refresh()

    def notify_style_update(self) -> None:
        """Forget painted lines after a change of theme."""
        super().notify_style_update()
        self._cache.clear()

    def on_resize(self) -> None:
        """Choose the columns for the new width."""
        self.paint()

    def on_click(self, event: events.Click) -> None:
        """Select the line under the mouse."""
        if event.y > 0:
            self.cursor = event.y - 1 + self.scroll_offset.y

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"rank-table--{part}")

    def _strip(self, row: Row | str, width: int, *, cursor: bool) -> Strip:
        key = (row, width, cursor)
        strip = self._cache.get(key)
        if strip is None:
            strip = self._cache[key] = self._painted(row, width, cursor=cursor)
        return strip

    def _painted(self, row: Row | str, width: int, *, cursor: bool) -> Strip:
        if isinstance(row, str):
            segments, base = [Segment(row, self._style("title"))], self._style("title")
        else:
            base = self._style("cursor" if cursor else "text")
            tagged, before, state, after, tone = row
            mark = ">" if cursor else "+" if tagged else " "
            body = base if tone != "dim" else base + self._style("dim")
            segments = [
                Segment(f"{mark}{before} ", body),
                Segment(state, base + self._style(tone)),
                Segment(f" {after}", body),
            ]
        return Strip(segments).adjust_cell_length(width, base)
