"""Charts of every rank over the recent past: tokens per second and time of a step.

Reads the timeline up to the moment that is shown. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mlxconsole.timeline import step_times_ms, token_rates
from mlxconsole.ui.braille import bars
from mlxconsole.units import rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlxconsole.store import Store

LEAST_ROWS, MOST_ROWS = 2, 8
TWO_FROM = 60
"""Narrower windows have room for one chart a rank."""


class ChartView(ScrollView, can_focus=True):
    """A band of charts per rank."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", id="charts.down", show=False),
        Binding("k,up", "scroll_up", "Up", id="charts.up", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart-view--title", "chart-view--bars"}

    def __init__(self, store: Store) -> None:
        super().__init__(id="charts")
        self._store = store
        self._lines: list[tuple[str, str]] = []

    def paint(self) -> None:
        """Draw what the timeline has by now; repaint only if it differs."""
        lines = self._drawn(self.size.width, self.size.height)
        if lines != self._lines:
            self._lines = lines
            self.virtual_size = Size(self.size.width, len(lines))
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the window."""
        width, index = self.size.width, y + self.scroll_offset.y
        part, text = self._lines[index] if index < len(self._lines) else ("bars", "")
        style = self.get_component_rich_style(f"chart-view--{part}")
        return Strip([Segment(text or " ", style)]).adjust_cell_length(width, style)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.paint()

    def _drawn(self, width: int, height: int) -> list[tuple[str, str]]:
        """Part and text of each line."""
        pictures = self._store.timeline.until_shown(2 * width)
        rows = max(LEAST_ROWS, min(MOST_ROWS, height // len(self._store.ranks) - 1))
        charts = 2 if width >= TWO_FROM else 1
        each = max((width - 1) // charts - 1, 1)
        lines: list[tuple[str, str]] = []
        for rank in self._store.ranks:
            series = (
                (f"rank {rank} tok/s", token_rates(pictures, rank)),
                (f"rank {rank} ms/step", step_times_ms(pictures, rank)),
            )[:charts]
            drawn = [_chart(title, values, each, rows) for title, values in series]
            titles, *body = (" ".join(parts) for parts in zip(*drawn, strict=True))
            lines += [("title", titles), *(("bars", line) for line in body)]
        return lines


def _chart(title: str, values: Sequence[float | None], width: int, rows: int) -> list[str]:
    top = max((v for v in values[-2 * width :] if v is not None), default=0.0)
    last = rate(values[-1] if values else None)
    return [
        f"{title} {last}, most {rate(top)}"[:width].ljust(width),
        *bars(values, width, rows, top),
    ]
