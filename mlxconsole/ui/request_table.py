"""The page of live requests: one line each, sorted and filtered as the operator wants."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from mlxconsole import request_rows
from mlxconsole.log_selection import compiled
from mlxconsole.ui.line_table import LineTable

if TYPE_CHECKING:
    from mlxconsole.store import Store
    from protos.control_pb2 import RequestStatus

EMPTY = "No request is live. Try one on page 7 (Chat)."
UNREACHED = "Requests are not known: no contact with rank 0."


class RequestTable(LineTable):
    """Requests of rank 0, as it told last."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *LineTable.BINDINGS,
        Binding(
            "less_than_sign",
            "sort(-1)",
            "Sort by column before",
            id="requests.sort_before",
            show=False,
        ),
        Binding(
            "greater_than_sign",
            "sort(1)",
            "Sort by next column",
            id="requests.sort_next",
            show=False,
        ),
        Binding("enter", "choose", "Its log lines", id="requests.lines", show=False),
        Binding("minus", "turn", "Turn the order", id="requests.turn", show=False),
    ]

    class Chosen(Message):
        """The operator wants to know more of a request."""

        def __init__(self, request_id: str) -> None:
            super().__init__()
            self.request_id = request_id

    def __init__(self, store: Store) -> None:
        super().__init__("requests")
        self._store = store
        self.sort, self.down = "", True
        self.pattern: re.Pattern[str] | None = None

    def row(self) -> RequestStatus | None:
        """The request under the cursor, as it is now."""
        rows = self._store.shown_requests.rows
        return next((row for row in rows if row.id == self.selected), None)

    def paint(self) -> None:
        """Take the present table."""
        columns, table = request_rows.fit(self.size.width - 1), self._store.shown_requests
        rows = request_rows.wanted(table.rows, self.pattern, self.sort, down=self.down)
        first = self._store.shown.get(0)
        live = first is not None and first.contact == "live"
        lines = [(r.id, request_rows.cells(columns, r), "text" if live else "dim") for r in rows]
        if not lines:
            lines = [("", EMPTY if live else UNREACHED, "dim")]
        if table.total > len(table.rows):
            lines.append(("", f"and {table.total - len(table.rows)} more", "dim"))
        self.show(request_rows.titles(columns, self.sort, down=self.down), lines)

    def action_sort(self, step: int) -> None:
        """Sort by the column beside; before the first is the order of their coming."""
        names = ["", *(c.title for c in request_rows.fit(self.size.width - 1))]
        place = names.index(self.sort) if self.sort in names else 0
        self.sort = names[(place + step) % len(names)]
        self.paint()

    def find(self, text: str) -> None:
        """Show only requests that a regular expression is in; nothing that is none."""
        with suppress(re.error):
            self.pattern = compiled(text)
            self.paint()

    def action_choose(self) -> None:
        """Go to the log lines of the request under the cursor."""
        if self.selected:
            self.post_message(self.Chosen(self.selected))

    def action_turn(self) -> None:
        """Largest first, or smallest."""
        self.down = not self.down
        self.paint()

    def on_resize(self) -> None:
        """Choose the columns for the new width."""
        self.paint()
