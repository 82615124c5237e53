"""A merged log: a window on a ring that follows its end until the reader scrolls.

Painted through `render_line` with a cache (RichLog re-renders far more). Runs in the app's loop.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from mlxconsole.log_selection import LEVELS, LogQuery, LogSelection, key_of
from mlxconsole.ui.log_line import TIMES, LineForm, painted, rows
from mlxconsole.ui.log_title import nothing, title

if TYPE_CHECKING:
    from rich.style import Style

    from mlxconsole.log_ring import LogEntry, LogRing
    from mlxconsole.log_selection import Key
    from mlxconsole.store import Store


class LogView(ScrollView, can_focus=True):
    """The lines of a ring that the reader's query admits, in the order of their time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "read(1)", "Down", id="log.down", show=False),
        Binding("k,up", "read(-1)", "Up", id="log.up", show=False),
        Binding("ctrl+d,pagedown", "read_page(1)", "Page down", id="log.page_down", show=False),
        Binding("ctrl+u,pageup", "read_page(-1)", "Page up", id="log.page_up", show=False),
        Binding("g,home", "read(-1_000_000_000)", "Oldest line", id="log.first", show=False),
        Binding("G,end", "follow(True)", "Newest line", id="log.last", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"log-view--{part}" for part in ("text", "busy", "bad", "dim", "found", "here")
    }

    following: reactive[bool] = reactive(True, init=False)
    """Whether new lines pull the window along."""

    def __init__(self, name: str, ring: LogRing, store: Store) -> None:
        super().__init__(id=name)
        self._store = store
        self.ring = ring
        self.selection = LogSelection(ring)
        self.wrap = False
        self.time = TIMES[0]
        self.seen = 0
        """Lines that had come when the reader stopped following."""
        self._rows: list[tuple[int, int]] = []
        """With wrap: line and part of every row. Without, a row is a line."""
        self._taken = -1
        self._here: Key | None = None
        self._titled = ""
        self._moving = False
        """We scroll, not the reader."""
        self._cache: LRUCache[tuple[LogEntry, int, bool], Strip] = LRUCache(1024)

    @property
    def wanted(self) -> LogQuery:
        """What is shown."""
        return self.selection.query

    def choose(self, query: LogQuery, until: int | None = None) -> None:
        """Show something else, keeping the place in time; a reader at the end stays there."""
        lines, top = self.selection.lines, self._line_at(self.scroll_offset.y)
        place = key_of(lines[top]) if top < len(lines) else None
        self.selection.choose(query, until)
        self.seen = self.selection.taken
        self._repaint(self.selection.index(place) if place else 0)

    def paint(self) -> None:
        """Take new lines in; keep the reader's place whatever came before or was dropped."""
        before = top = self._line_at(self.scroll_offset.y)
        top = self.selection.take(top)
        if not self.selection.lines:
            self.refresh(Region(0, 0, self.size.width, 1))
        if self._taken != self.selection.taken:
            self._lay_out()
            if top != before and not self.following:
                self._move_to(self._row_of(top))
            self.refresh()
        if self.following:
            self.seen = self.selection.taken
            self._move_to(self.max_scroll_y)
        self._say_title()

    def render_line(self, y: int) -> Strip:
        """Row ``y`` of the window."""
        form, row = self._form(), self.scroll_offset.y + y
        line, part = self._rows[row] if self.wrap and row < len(self._rows) else (row, 0)
        if row >= self.virtual_size.height or line >= len(self.selection.lines):
            empty = nothing(self, self._store) if y == 0 and not self.selection.lines else ""
            return Strip([Segment(empty.ljust(form.width)[: form.width], self._style("dim"))])
        entry = self.selection.lines[line]
        here = self._here is not None and key_of(entry) == self._here
        strip = self._cache.get((entry, part, here))
        if strip is None:
            strip = Strip(painted(entry, part, form, here=here))
            strip = strip.adjust_cell_length(form.width, self._style("text"))
            self._cache[(entry, part, here)] = strip
        return strip

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """A reader who scrolls up stops following; back at the end, follows again."""
        super().watch_scroll_y(old_value, new_value)
        if not self._moving and old_value != new_value:
            self.following = new_value >= self.max_scroll_y

    def watch_following(self, following: bool) -> None:
        """Jump to the end when following starts."""
        if following and self.is_mounted:
            self.paint()
        self._say_title()

    def action_follow(self, following: bool | None = None) -> None:
        """Follow the end, or stop; without an argument the other of the two."""
        self.following = not self.following if following is None else following

    def action_read(self, lines: int) -> None:
        """Go ``lines`` down (or up, if negative), at once: a moving window is hard to read."""
        line = max(0, min(self.scroll_offset.y + lines, self.max_scroll_y))
        self.following = line >= self.max_scroll_y
        self._move_to(line)

    def action_read_page(self, pages: int) -> None:
        """Go a window down or up, keeping one line in sight."""
        self.action_read(pages * max(self.size.height - 1, 1))

    def action_match(self, step: int) -> None:
        """Go to the next (1) or previous (-1) line that the pattern is in."""
        first = self._line_at(self.scroll_offset.y)
        if self._here is not None:
            first = self.selection.index(self._here) + step
        elif step < 0:
            first = self._line_at(self.scroll_offset.y + self.size.height) - 1
        found = self.selection.find(first, step) if self.selection.lines else None
        if found is None:
            self.notify("No line has it" if self.wanted.pattern else "No pattern: / sets one")
            return
        self._here = key_of(self.selection.lines[found])
        self.following = False
        row = self._row_of(found)
        if not self.scroll_offset.y <= row < self.scroll_offset.y + self.size.height:
            self._move_to(max(0, row - self.size.height // 2))
        self.refresh()

    def action_hide(self) -> None:
        """Leave out, or dim, the lines that the pattern is not in."""
        self.choose(replace(self.wanted, hide=not self.wanted.hide), self.selection.until)

    def action_pause(self) -> None:
        """Show nothing that comes from now on, though it is taken in; or show it all again."""
        is_paused = self.selection.until is not None
        self.choose(self.wanted, None if is_paused else self.ring.end)

    def action_level(self) -> None:
        """The next least level."""
        level = LEVELS[(LEVELS.index(self.wanted.level) + 1) % len(LEVELS)]
        self.choose(replace(self.wanted, level=level), self.selection.until)

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        top = self._line_at(self.scroll_offset.y)
        self.wrap = not self.wrap
        self._repaint(top)

    def action_time(self) -> None:
        """The next form of the time: clock, with milliseconds, none."""
        top = self._line_at(self.scroll_offset.y)
        self.time = TIMES[(TIMES.index(self.time) + 1) % len(TIMES)]
        self._repaint(top)

    def notify_style_update(self) -> None:
        """Forget painted lines after a change of theme."""
        super().notify_style_update()
        self._cache.clear()

    def on_resize(self) -> None:
        """Lay the lines out for the new width; stay at the end, if we were there."""
        self._repaint(self._line_at(self.scroll_offset.y))

    def _say_title(self) -> None:
        text = title(self, self._store)
        if text != self._titled:  # Textual repaints the whole log for a title, the same one too
            self._titled = self.border_title = text

    def _repaint(self, top: int) -> None:
        self._cache.clear()
        self._lay_out()
        if not self.following:
            self._move_to(self._row_of(top))
        self.refresh()
        self.paint()

    def _lay_out(self) -> None:
        lines, form = self.selection.lines, self._form()
        self._taken = self.selection.taken
        if self.wrap:
            parts = ((line, rows(entry, form)) for line, entry in enumerate(lines))
            self._rows = [(line, part) for line, count in parts for part in range(count)]
        self._grow(Size(form.width, len(self._rows) if self.wrap else len(lines)))

    def _grow(self, size: Size) -> None:
        """Take another height without laying the whole screen out, which costs more than a paint.

        Only the appearance of the scroll bar changes what other widgets have.
        """
        shown, before = self.show_vertical_scrollbar, self.virtual_size
        if size == before:
            return
        appears = shown != (size.height > self.size.height) and self.size.height > 0
        if size.width != before.width or appears:
            self.virtual_size = size
            return
        # Textual declares it a reactive, and its type as what one reads from it, too.
        self.set_reactive(cast("Reactive[Size]", Widget.virtual_size), size)
        if shown:
            self.vertical_scrollbar.window_virtual_size = size.height

    def _line_at(self, row: int) -> int:
        if not self.wrap or not self._rows:
            return row
        return self._rows[min(row, len(self._rows) - 1)][0]

    def _row_of(self, line: int) -> int:
        return bisect_left(self._rows, (line, 0)) if self.wrap else line

    def _move_to(self, line: float) -> None:
        self._moving = True
        self.scroll_to(y=line, animate=False, force=True)
        self._moving = False

    def _form(self) -> LineForm:
        return LineForm(self.size.width, self.time, self.wrap, self.wanted, self._style)

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"log-view--{part}")
