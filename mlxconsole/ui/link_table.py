"""The page of links: a line per rank and peer, since each end measures for itself."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from mlxconsole.request_rows import milliseconds
from mlxconsole.ui.line_table import LineTable
from mlxconsole.units import UNKNOWN, size

if TYPE_CHECKING:
    from mlxconsole.store import RankView, Store
    from protos.control_pb2 import LinkStatus

TITLE = "LINK     STATE          OUT/s   IN/s  RTT50  RTT99 QUEUE  BULK      LOST"
TROUBLE = "  LAST TROUBLE"
MEANS = {
    "LINK": "who sends to whom; both ends measure",
    "STATE": "up, or what it is about to do",
    "OUT/s": "bytes a second sent",
    "IN/s": "bytes a second received",
    "RTT50": "round trip, median",
    "RTT99": "round trip that 99% stay under",
    "QUEUE": "bytes sent and not acknowledged yet",
    "BULK": "large messages: bytes done of all",
    "LOST": "interruptions so far",
    "LAST TROUBLE": "why it was interrupted, or is not up",
}
"""The help's legend."""
MARK_WIDTH = 1
BELOW = "         last trouble: "
ONE_RANK = "One rank has no links."
NONE_YET = "No link has carried anything yet: ranks connect while they start."


class LinkTable(LineTable):
    """Directed edges, by rank and peer."""

    def __init__(self, store: Store) -> None:
        super().__init__("links")
        self._store = store

    def paint(self) -> None:
        """Take the present links."""
        width = self.size.width - MARK_WIDTH
        made = [
            (f"{rank}>{link.peer}{at or ''}", text, tone(view, link))
            for rank, view in self._store.shown.items()
            if view.status
            for link in view.status.links
            for at, text in enumerate(lines(view, link, width))
        ]
        empty = ONE_RANK if len(self._store.shown) == 1 else NONE_YET
        self.show(title(width), made or [("", empty, "dim")])

    def on_resize(self) -> None:
        """Repaint in the new width."""
        self.paint()


def title(width: int) -> str:
    """The names of the columns; the last only where it can be read."""
    return TITLE + (TROUBLE if len(TITLE + TROUBLE) <= width else "")


def lines(view: RankView, link: LinkStatus, width: int) -> list[str]:
    """One direction: what the rank sends to its peer, and how long an answer takes.

    The last trouble stands below where it has no room beside.
    """
    sent, received = view.figures.links.get(link.peer, (None, None))
    p50 = milliseconds(link.rtt_p50_s) if link.HasField("rtt_p50_s") else UNKNOWN
    p99 = milliseconds(link.rtt_p99_s) if link.HasField("rtt_p99_s") else UNKNOWN
    bulk = UNKNOWN
    if link.bulk_out_total:
        bulk = f"{size(link.bulk_out_done)}/{size(link.bulk_out_total)}"
    trouble = link.reason if link.interruptions or link.state != "up" else ""
    figures = (
        f"{view.member.rank:>2} > {link.peer:<3} {link.state:<12} {size(sent):>6} "
        f"{size(received):>6} {p50:>6} {p99:>6} {size(link.unacknowledged_bytes):>5}  "
        f"{bulk:<9} {link.interruptions:>4}"
    )
    if not trouble:
        return [figures]
    if title(width) != TITLE and len(f"{figures}  {trouble}") <= width:
        return [f"{figures}  {trouble}"]
    room = max(width, 2 * len(BELOW))
    indent = " " * len(BELOW)
    return [figures, *wrap(trouble, room, initial_indent=BELOW, subsequent_indent=indent)]


def tone(view: RankView, link: LinkStatus) -> str:
    """Dim without contact, bad unless it is up. The words say the same."""
    if view.contact != "live":
        return "dim"
    return "text" if link.state == "up" else "bad"
