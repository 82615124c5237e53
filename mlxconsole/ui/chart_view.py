"""Charts over the recent past: a band of the whole cluster, then one of each rank.

Reads the timeline up to the moment that is shown, once for each picture in it; draws the bands that
are in sight. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.cache import LRUCache
from textual.geometry import Size

from mlxconsole.ui.braille import bars
from mlxconsole.ui.chart_series import CHARTS, Series, of_cluster, of_rank
from mlxconsole.ui.text_view import EMPTY, Line, TextView

if TYPE_CHECKING:
    from mlxconsole.store import Store
    from mlxconsole.timeline import Picture

LEAST_ROWS, MOST_ROWS = 2, 8
TWO_FROM, FOUR_FROM = 60, 160
"""Widths that have room for so many charts side by side."""
TWICE_FROM = 12
"""Two rows of the cluster's charts want so much of it."""


class ChartView(TextView):
    """Bands of charts, of equal height."""

    def __init__(self, store: Store) -> None:
        super().__init__("charts")
        self._store = store
        self._pictures: list[Picture] = []
        self.beside = True
        """Whether it stands beside the ranks: the cluster's charts fill it then."""
        self._drawn_for: tuple[float, int, int, bool] = (float("-inf"), 0, 0, True)
        self._rows, self._charts, self._cluster_bands = LEAST_ROWS, 1, 1
        self._bands: LRUCache[int, list[Line]] = LRUCache(32)

    def paint(self) -> None:
        """See whether there is another picture, or another size."""
        latest = self._store.timeline.until_shown(1)
        at_s = latest[-1].at_s if latest else float("-inf")
        moment = (at_s, self.size.width, self.size.height, self.beside)
        if moment == self._drawn_for:
            return
        self._drawn_for = moment
        self._bands.clear()
        self._pictures = self._store.timeline.until_shown(2 * self.size.width)
        self._lay_out(*self.size)
        self.refresh()

    def line(self, index: int) -> Line:
        """One line of a band; the first bands are the cluster's."""
        band, row = divmod(index, self._rows + 1)
        if band >= self._cluster_bands + len(self._store.ranks):
            return EMPTY
        if (lines := self._bands.get(band)) is None:
            lines = self._bands[band] = self._band(band)
        return lines[row]

    def _lay_out(self, width: int, height: int) -> None:
        self._charts = 4 if width >= FOUR_FROM else 2 if width >= TWO_FROM else 1
        self._cluster_bands = (
            1 if self.beside and height < TWICE_FROM else -(-CHARTS // self._charts)
        )
        bands = self._cluster_bands + len(self._store.ranks)
        rows = height // (self._cluster_bands if self.beside else bands) - 1
        self._rows = max(LEAST_ROWS, min(MOST_ROWS, rows))
        self.virtual_size = Size(width, bands * (self._rows + 1))

    def _band(self, band: int) -> list[Line]:
        ranks, first = list(self._store.ranks), band * self._charts
        if band < self._cluster_bands:
            series = of_cluster(self._pictures)[first : first + self._charts]
        else:
            rank = ranks[band - self._cluster_bands]
            series = of_rank(self._pictures, rank)[: self._charts]
        each = max((self.size.width - 1) // self._charts - 1, 1)
        drawn = [_chart(one, each, self._rows) for one in series]
        titles, *body = (" ".join(parts) for parts in zip(*drawn, strict=True))
        return [("title", titles), *(("bars", line) for line in body)]


def _chart(series: Series, width: int, rows: int) -> list[str]:
    recent = [v for v in series.values[-2 * width :] if v is not None]
    top = max(recent, default=0.0)
    title = f"{series.name} {series.now}, most {series.show(top)}" if recent else series.empty
    return [title[:width].ljust(width), *bars(series.values, width, rows, top)]
