"""The top line: which cluster, which model, how many ranks are ready, how fast.

Pure text from the store; the widget shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Static

from mlxconsole.request_rows import milliseconds
from mlxconsole.snapshot import state_name
from mlxconsole.units import duration, rate

if TYPE_CHECKING:
    from mlxconsole.alerts import Alerts
    from mlxconsole.store import Store


def header_text(
    store: Store, now_s: float, width: int, alerts: str = "", *, read_only: bool = False
) -> str:
    """The parts in order of importance, as many as fit into ``width``."""
    contacts = [view.contact for view in store.shown.values()]
    reached = sum(contact == "live" for contact in contacts)
    ready = f"{store.ready_count()}/{len(contacts)} READY"
    first = store.shown[0].status if 0 in store.shown else None
    api = state_name(first.api) if first and first.HasField("api") else "--"
    model = store.cluster.model.rstrip("/").rsplit("/", 1)[-1]
    live = store.playback.words() if store.playback else "LIVE"
    contact = live if reached == len(contacts) else f"{reached}/{len(contacts)} reached"
    name = f"mlxconsole {store.cluster.name}"
    p95_s = store.shown[0].figures.first_token.p95_s if 0 in store.shown else None
    ttft = [(4, f"ttft95 {milliseconds(p95_s)}")] if p95_s else []
    needed = [
        (0, name),
        (3, model),
        (1, ready),
        (2, f"{rate(store.tokens_per_s(now_s))} tok/s"),
        *ttft,
        (4, contact),
        (5, f"api {api}"),
        (6, store.cluster.api_url),
    ]
    if store.timeline.shown:
        ago = duration(store.clock() - store.timeline.shown.at_s)
        needed.insert(1, (0, f"REWOUND {ago}, 0 is live"))
    if store.playback and contact != live:
        needed.insert(1, (2, live))
    if alerts:
        needed.insert(-3, (1, alerts))
    if read_only:
        needed.append((3, "READ-ONLY"))
    while len(" | ".join(text for _, text in needed)) > width and len(needed) > 1:
        needed.remove(max(needed))
    return " | ".join(text for _, text in needed)[:width]


def alerts_text(alerts: Alerts) -> str:
    """How many are new, and how many the operator has seen and still hold."""
    seen = len(alerts.active) - alerts.fresh
    new = f"!{alerts.fresh}" if alerts.fresh else ""
    return " ".join(part for part in (new, f"({seen} seen)" if seen else "") if part)


class Header(Static):
    """The line as a widget."""

    def __init__(self, store: Store, alerts: Alerts, *, read_only: bool) -> None:
        super().__init__("", id="header", markup=False)
        self._store, self._alerts = store, alerts
        self._read_only = read_only
        self._text = ""

    def paint(self) -> None:
        """Repaint if the text changed."""
        width, alerts = max(self.size.width - 2, 1), alerts_text(self._alerts)
        now_s = self._store.shown_at_s()
        text = header_text(self._store, now_s, width, alerts, read_only=self._read_only)
        if text != self._text:
            self._text = text
            self.update(text, layout=False)  # one line stays one line

    def on_resize(self) -> None:
        """Choose the parts for the new width."""
        self.paint()
