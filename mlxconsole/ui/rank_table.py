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
MANY_RANKS = 17
"""From so many on, those that need somebody come first unless the operator sorts otherwise."""
ORDER_S = 2.0
"""Lines change places so often at most: a table that never stands still can't be read."""


class RankTable(ScrollView, can_focus=True):
    """Every rank of the cluster, one line each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor(1)", "Down", id="ranks.down", show=False),
        Binding("k,up", "cursor(-1)", "Up", id="ranks.up", show=False),
        Binding("g,home", "cursor_to(0)", "First rank", id="ranks.first", show=False),
        Binding("G,end", "cursor_to(-1)", "Last rank", id="ranks.last", show=False),
        Binding("space", "tag", "Tag for an action", id="ranks.tag", show=False),
        Binding(
            "less_than_sign",
            "sort(-1)",
            "Sort by column before",
            id="ranks.sort_before",
            show=False,
        ),
        Binding(
            "greater_than_sign", "sort(1)", "Sort by next column", id="ranks.sort_next", show=False
        ),
        Binding("minus", "turn", "Turn the order", id="ranks.turn", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"rank-table--{part}" for part in ("title", "text", "good", "busy", "bad", "dim", "cursor")
    }

    cursor: reactive[int] = reactive(0)
    """Index of the selected line; it goes where its rank goes."""

    def __init__(self, store: Store) -> None:
        super().__init__(id="ranks")
        self._store = store
        self.sort = rank_columns.WORST_FIRST if len(store.ranks) >= MANY_RANKS else ""
        """Title of the column that orders the lines; none: by rank."""
        self.down = True
        self._order = list(store.ranks)
        """The ranks, as their lines stand."""
        self._ordered_at_s = float("-inf")
        self._chosen = False
        """Whether the operator has chosen a line: until then the cursor is on the first."""
        self._columns = rank_columns.fit(0)
        self._rows: dict[int, Row] = {}
        """Of the ranks that were in sight at the last paint."""
        self.tagged: set[int] = set()
        """Ranks that actions are about, together."""
        self._title = ""
        self._cache: LRUCache[tuple[Row | str, int, bool], Strip] = LRUCache(512)

    @property
    def selected(self) -> RankView | None:
        """The rank under the cursor."""
        return self._store.ranks[self._order[self.cursor]] if self._order else None

    @property
    def chosen(self) -> list[RankView]:
        """The ranks that an action is about: those tagged, else the one under the cursor."""
        tagged = [v for rank, v in self._store.ranks.items() if rank in self.tagged]
        selected = self.selected
        return tagged or ([selected] if selected else [])

    def paint(self) -> None:
        """Take the store's present picture; repaint only if a character of it changed."""
        self._columns = rank_columns.fit(self.size.width, len(self._order))
        before = self._order
        self._put_in_order(self._store.shown_at_s())
        title = rank_columns.titles(self._columns, self.sort, down=self.down)
        first = self.scroll_offset.y
        seen = self._order[first : first + max(self.size.height, 1)]
        rows = {rank: self._row(rank) for rank in seen}
        if title != self._title or before != self._order:
            self.refresh()
        else:
            for y, rank in enumerate(seen, 1):
                if rows[rank] != self._rows.get(rank):
                    self.refresh(Region(0, y, self.size.width, 1))
        self._rows, self._title = rows, title
        self.virtual_size = Size(self.size.width, len(self._order) + 1)

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window: the titles, then ranks from the scroll position on."""
        width, index = self.size.width, y - 1 + self.scroll_offset.y
        if y == 0:
            return self._strip(self._title, width, cursor=False)
        if index >= len(self._order):
            return Strip([Segment(" " * width, self._style("text"))])
        rank = self._order[index]
        row = self._rows.get(rank) or self._row(rank)  # just scrolled into sight
        return self._strip(row, width, cursor=index == self.cursor)

    def _row(self, rank: int) -> Row:
        view, now_s = self._store.shown[rank], self._store.shown_at_s()
        parts = rank_columns.row(view, self._columns, now_s)
        return (rank in self.tagged, *parts, rank_columns.tone(view))

    def action_cursor(self, step: int) -> None:
        """Move the cursor by ``step`` ranks."""
        self._chosen = True
        self.cursor += step

    def action_cursor_to(self, index: int) -> None:
        """Move the cursor to the first (0) or last (-1) rank."""
        self._chosen = True
        self.cursor = index % len(self._store.ranks)

    def action_sort(self, step: int) -> None:
        """Sort by the column beside; before the first is the order of the ranks."""
        fit = rank_columns.fit(self.size.width, len(self._order))
        names = ["", *(column.title for column in fit if column.title != "RANK")]
        place = names.index(self.sort) if self.sort in names else 0
        self.sort = names[(place + step) % len(names)]
        self._order_again()

    def action_turn(self) -> None:
        """Largest first, or smallest."""
        self.down = not self.down
        self._order_again()

    def action_tag(self) -> None:
        """Mark the rank, or take its mark back: actions are about all marked ones."""
        if self.selected is not None:
            self._chosen = True
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
            self._chosen = True
            self.cursor = event.y - 1 + self.scroll_offset.y

    def _order_again(self) -> None:
        self._ordered_at_s = float("-inf")
        self.paint()

    def _put_in_order(self, now_s: float) -> None:
        """Sort the lines, if it is time; the cursor stays on its rank."""
        if 0 <= now_s - self._ordered_at_s < ORDER_S:
            return
        self._ordered_at_s = now_s
        rank = self._order[self.cursor] if self._order else None
        views = self._store.shown.values()
        self._order = rank_columns.ordered(views, self.sort, now_s, down=self.down)
        if rank is not None:
            self.cursor = self._order.index(rank) if self._chosen else 0

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
