"""The page "why": what sets the pace, when memory is full, which rank is the odd one out.

Reads the store through `insight` once a second while it is shown. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxconsole.ui import why_text
from mlxconsole.ui.text_view import TextView

if TYPE_CHECKING:
    from mlxconsole.store import Store

INTERVAL_S = 1.0


class WhyView(TextView):
    """Sentences and one bar per rank."""

    def __init__(self, store: Store) -> None:
        super().__init__("why")
        self._store = store
        self._looked: tuple[float, int] = (float("-inf"), 0)

    def paint(self) -> None:
        """Look again if a second has passed, or the moment or the width is another one."""
        moment = (self._store.shown_at_s(), self.size.width)
        if moment[1] == self._looked[1] and 0 <= moment[0] - self._looked[0] < INTERVAL_S:
            return
        self._looked = moment
        self.show(why_text.lines(self._store, self.size.width))
