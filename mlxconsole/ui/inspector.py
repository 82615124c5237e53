"""The inspector: all about the rank under the cursor, beside the charts or in place of the log.

Reads the store's shown moment. Runs in the app's event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxconsole.ui import inspector_text
from mlxconsole.ui.text_view import TextView

if TYPE_CHECKING:
    from mlxconsole.store import Store
    from mlxconsole.ui.rank_table import RankTable


class Inspector(TextView):
    """Follows the table's cursor."""

    def __init__(self, name: str, store: Store, table: RankTable) -> None:
        super().__init__(name)
        self._store, self._table = store, table
        self._rank = -1

    def paint(self) -> None:
        """Take the selected rank as it is at the moment that is shown."""
        selected = self._table.selected
        if selected is not None:
            if selected.member.rank != self._rank:
                self._rank = selected.member.rank
                self.scroll_home(animate=False)
            view = self._store.shown[selected.member.rank]
            width = max(self.size.width - 1, 1)
            self.show(inspector_text.lines(view, self._store.shown_at_s(), width))
