"""The merged log: a window on the store's ring that follows its end until the reader scrolls.

Painted through `render_line` with a cache (RichLog re-renders far more). Runs in the app's loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from rich.style import Style

    from mlxconsole.log_ring import LogEntry
    from mlxconsole.store import Store

LEVEL_TONES = {"DEBUG": "dim", "WARNING": "busy", "ERROR": "bad", "CRITICAL": "bad"}


class LogView(ScrollView, can_focus=True):
    """Lines of every rank in the order of their arrival."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "read(1)", "Down", id="log.down", show=False),
        Binding("k,up", "read(-1)", "Up", id="log.up", show=False),
        Binding("ctrl+d,pagedown", "read_page(1)", "Page down", id="log.page_down", show=False),
        Binding("ctrl+u,pageup", "read_page(-1)", "Page up", id="log.page_up", show=False),
        Binding("g,home", "read(-1_000_000_000)", "Oldest line", id="log.first", show=False),
        Binding("G,end", "follow(True)", "Newest line", id="log.last", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"log-view--{part}" for part in ("text", "busy", "bad", "dim")
    }

    following: reactive[bool] = reactive(True, init=False)
    """Whether new lines pull the window along."""

    def __init__(self, store: Store) -> None:
        super().__init__(id="log")
        self._store = store
        self._start = 0
        """Number of the line that stands at scroll position 0."""
        self._seen = 0
        """One past the newest line when the reader stopped following."""
        self._moving = False
        """We scroll, not the reader."""
        self._cache: LRUCache[tuple[int, int], Strip] = LRUCache(1024)

    def paint(self) -> None:
        """Take new lines in; keep the reader's place when old lines have been dropped."""
        ring = self._store.log
        if (count := ring.end - ring.start) and (
            self.virtual_size.height != count or self._start != ring.start
        ):
            dropped, self._start = ring.start - self._start, ring.start
            self.virtual_size = Size(self.size.width, count)
            if dropped and not self.following:
                self._move_to(max(0, self.scroll_offset.y - dropped))
            self.refresh()
        if self.following:
            self._seen = ring.end
            self._move_to(self.max_scroll_y)
        self._retitle()

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window."""
        width, number = self.size.width, self._start + self.scroll_offset.y + y
        strip = self._cache.get((number, width))
        if strip is not None:
            return strip
        entry = self._store.log.get(number)
        if entry is None:
            return Strip([Segment(" " * width, self._style("text"))])
        strip = self._cache[(number, width)] = self._painted(entry, width)
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
        self._retitle()

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

    def notify_style_update(self) -> None:
        """Forget painted lines after a change of theme."""
        super().notify_style_update()
        self._cache.clear()

    def on_resize(self) -> None:
        """Stay at the end, if we were there."""
        self.paint()

    def _move_to(self, line: float) -> None:
        self._moving = True
        self.scroll_to(y=line, animate=False, force=True)
        self._moving = False

    def _retitle(self) -> None:
        fresh = self._store.log.end - self._seen
        mode = "FOLLOW" if self.following else f"+{fresh} new, f follows" if fresh else "f follows"
        lost = self._store.log_lines_lost
        self.border_title = f"log | all ranks | {mode}" + (f" | {lost} lost" if lost else "")

    def _style(self, part: str) -> Style:
        return self.get_component_rich_style(f"log-view--{part}")

    def _painted(self, entry: LogEntry, width: int) -> Strip:
        clock = time.strftime("%H:%M:%S", time.localtime(entry.time_s))
        who = "console" if entry.rank < 0 else f"{entry.rank} {entry.source or '-'}"
        text = self._style("text")
        segments = [
            Segment(f"{clock} ", self._style("dim")),
            Segment(f"{who:<16.16} ", text),
            Segment(f"{entry.level:<7.7} ", self._style(LEVEL_TONES.get(entry.level, "text"))),
            Segment(entry.text, text),
        ]
        if width < 60:
            segments = [Segment(f"{max(entry.rank, 0)} ", text), segments[-1]]
        return Strip(segments).adjust_cell_length(width, text)
