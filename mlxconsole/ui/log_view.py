"""A merged log: a window on a ring that follows its end until the reader scrolls.

Painted through `render_line` with a cache (RichLog re-renders far more). Runs in the app's loop.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from mlxconsole.log_selection import LEVELS, LogQuery, LogSelection
from mlxconsole.ui.log_line import TIMES, LineForm, painted, rows
from mlxconsole.ui.log_title import nothing, title

if TYPE_CHECKING:
    from rich.style import Style

    from mlxconsole.log_ring import LogRing
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
        self._skipped = 0
        """With wrap: rows of the first line that are above the window, which is too low for it."""
        self._places: list[tuple[int, int]] = []
        """With wrap: line and part of every row of the window. Without, a row is a line."""
        self._taken = (-1, 0)
        self._here: Key | None = None
        self._titled = ""
        self._moving = False
        """We scroll, not the reader."""
        self._cache: LRUCache[tuple[int, int, bool], Strip] = LRUCache(1024)

    @property
    def wanted(self) -> LogQuery:
        """What is shown."""
        return self.selection.query

    def choose(self, query: LogQuery, until: int | None = None) -> None:
        """Show something else, keeping the place in time; a reader at the end stays there."""
        place = self.selection.key(self.scroll_offset.y)
        self.selection.choose(query, until)
        self.seen = self.selection.taken
        self._repaint(self.selection.index(place) if place else 0)

    def paint(self) -> None:
        """Take new lines in; keep the reader's place whatever came before or was dropped."""
        before = self.scroll_offset.y
        top = self.selection.take(before)
        if not len(self.selection):
            self.refresh(Region(0, 0, self.size.width, 1))
        if self._taken != (self.selection.taken, len(self.selection)):
            self._lay_out()
            if top != before and not self.following:
                self._move_to(top)
            self.refresh()
        if self.following:
            self.seen = self.selection.taken
            self._move_to(self.max_scroll_y)
        self._say_title()

    def render_line(self, y: int) -> Strip:
        """Row ``y`` of the window."""
        form = self._form()
        line, part = self._place(y, form)
        entry, key = self.selection.entry(line), self.selection.key(line)
        if entry is None:
            empty = nothing(self, self._store) if y == 0 and not len(self.selection) else ""
            return Strip([Segment(empty.ljust(form.width)[: form.width], self._style("dim"))])
        here = self._here is not None and key == self._here
        strip = self._cache.get((entry.number, part, here))
        if strip is None:
            strip = Strip(painted(entry, part, form, here=here))
            strip = strip.adjust_cell_length(form.width, self._style("text"))
            self._cache[(entry.number, part, here)] = strip
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
        if abs(lines) == 1 and self._read_within(lines):
            return
        line = max(0, min(self.scroll_offset.y + lines, self.max_scroll_y))
        self.following = line >= self.max_scroll_y
        self._move_to(line)

    def action_read_page(self, pages: int) -> None:
        """Go a window down or up, keeping one line in sight."""
        rows = max(self.size.height - 1, 1)
        if not self.wrap:
            self.action_read(pages * rows)
        elif not self._read_within(pages * rows):
            top, form = self.scroll_offset.y, self._form()
            last = self._place(rows, form)[0] if pages > 0 else top + 1
            lines = last - top if pages > 0 else self._lines_that_fit(form, last) - 1
            self.action_read(pages * max(lines, 1))

    def action_match(self, step: int) -> None:
        """Go to the next (1) or previous (-1) line that the pattern is in."""
        first = self.scroll_offset.y
        if self._here is not None:
            first = self.selection.index(self._here) + step
        elif step < 0:
            first = self._place(self.size.height - 1, self._form())[0]
        found = self.selection.find(first, step)
        if found is None:
            self.notify("No line has it" if self.wanted.pattern else "No pattern: / sets one")
            return
        self._here = self.selection.key(found)
        self.following = False
        last = self._place(self.size.height - 1, self._form())[0]
        if not self.scroll_offset.y <= found <= last:
            self._move_to(max(0, found - (0 if self.wrap else self.size.height // 2)))
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
        self.wrap = not self.wrap
        self._repaint(self.scroll_offset.y)

    def action_time(self) -> None:
        """The next form of the time: clock, with milliseconds, none."""
        self.time = TIMES[(TIMES.index(self.time) + 1) % len(TIMES)]
        self._repaint(self.scroll_offset.y)

    def notify_style_update(self) -> None:
        """Forget painted lines after a change of theme."""
        super().notify_style_update()
        self._cache.clear()

    def on_resize(self) -> None:
        """Lay the lines out for the new width; stay at the end, if we were there."""
        self._repaint(self.scroll_offset.y)

    def _say_title(self) -> None:
        text = title(self, self._store)
        if text != self._titled:  # Textual repaints the whole log for a title, the same one too
            self._titled = self.border_title = text

    def _repaint(self, top: int) -> None:
        self._cache.clear()
        self._lay_out()
        if not self.following:
            self._move_to(top)
        self.refresh()
        self.paint()

    def _lay_out(self) -> None:
        """As high as there are lines; with wrap, so much more that the last row can be reached."""
        form, count = self._form(), len(self.selection)
        self._taken = (self.selection.taken, count)
        self._places = []
        more = self.size.height - self._lines_that_fit(form, count) if self.wrap and count else 0
        self._grow(Size(form.width, count + max(more, 0)))

    def _lines_that_fit(self, form: LineForm, end: int) -> int:
        """How many lines before ``end`` the window holds, wrapped; the last one counts anyway."""
        free, fit = self.size.height, 0
        for line in range(end - 1, -1, -1):
            free -= self._rows(line, form)
            if free < 0:
                break
            fit += 1
        return max(fit, 1)

    def _rows(self, line: int, form: LineForm) -> int:
        entry = self.selection.entry(line)
        return rows(entry, form) if entry else 1

    def _place(self, y: int, form: LineForm) -> tuple[int, int]:
        """Which line and part of it stand in row ``y`` of the window."""
        top = self.scroll_offset.y
        if not self.wrap:
            return top + y, 0
        if not self._places or self._places[0] != (top, self._skipped):
            lines = range(top, len(self.selection))
            parts = ((line, part) for line in lines for part in range(self._rows(line, form)))
            self._places = list(islice(parts, self._skipped, self._skipped + self.size.height))
        return self._places[y] if y < len(self._places) else (len(self.selection), 0)

    def _read_within(self, step: int) -> bool:
        """Go some rows down or up in a line that the window is too low for; False if it is not."""
        if not self.wrap:
            return False
        hidden = self._rows(self.scroll_offset.y, self._form()) - self.size.height
        skipped = max(0, min(self._skipped + step, hidden))
        if skipped == self._skipped:
            return False
        self._skipped = skipped
        self.following = False
        self.refresh()
        return True

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

    def _move_to(self, line: float) -> None:
        if line != self.scroll_offset.y:
            self._skipped = 0
        self._moving = True
        self.scroll_to(y=line, animate=False, force=True)
        self._moving = False

    def _form(self) -> LineForm:
        # Without the scroll bar, which would cover the last column.
        width = self.scrollable_content_region.width
        return LineForm(width, self.time, self.wrap, self.wanted, self._style)

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"log-view--{part}")
