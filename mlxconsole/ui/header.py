"""The top line: which cluster, which model, how many ranks are ready, how fast.

Pure text from the store; the widget shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual.widgets import Static

from mlxconsole.request_rows import milliseconds
from mlxconsole.snapshot import state_name
from mlxconsole.units import UNKNOWN, duration, rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlxconsole.alerts import Alerts
    from mlxconsole.store import Store
    from protos.control_pb2 import RankStatus

BETWEEN = " | "

RATE_WIDTH, SPAN_WIDTH = 5, 6
"""The widest that `rate` and `milliseconds` become."""


class Part(NamedTuple):
    """A part of the line; the lower its ``need``, the narrower the screen that still has it."""

    need: int
    text: str
    widest: int = 0
    """Cells that it may come to take: what is shown must not change with the load."""

    @property
    def width(self) -> int:
        """Cells to keep for it."""
        return max(len(self.text), self.widest)


def header_text(
    store: Store, now_s: float, width: int, alerts: str = "", *, read_only: bool = False
) -> str:
    """The parts in order of importance, as many as fit into ``width``."""
    contacts = [view.contact for view in store.shown.values()]
    reached = sum(contact == "live" for contact in contacts)
    ranks = len(contacts)
    first = store.shown.get(0)
    p95_s = first.figures.first_token.p95_s if first else None
    parts = [
        Part(0, f"mlxconsole {store.cluster.name}"),
        *_moment(store),
        Part(4, store.cluster.model.rstrip("/").rsplit("/", 1)[-1]),
        Part(1, f"{store.ready_count()}/{ranks} READY", len(f"{ranks}/{ranks} READY")),
        Part(2, f"{rate(store.tokens_per_s(now_s))} tok/s", RATE_WIDTH + len(" tok/s")),
        Part(7, f"ttft95 {milliseconds(p95_s or 0.0)}", len("ttft95 ") + SPAN_WIDTH),
    ]
    if alerts:
        parts.append(Part(1, alerts))
    if reached < ranks:
        parts.append(Part(3, f"{reached}/{ranks} reached"))
    elif store.playback is None:
        parts.append(Part(5, "LIVE"))
    parts += [_api(first.status if first else None), Part(8, store.cluster.api_url)]
    if read_only:
        parts.append(Part(3, "READ-ONLY"))
    return BETWEEN.join(part.text for part in _fitting(parts, width))[:width]


def _fitting(parts: Sequence[Part], width: int) -> list[Part]:
    """The most needed in the order in which they stand; what is too wide leaves room for others."""
    chosen: set[int] = set()
    room = width + len(BETWEEN)
    for at in sorted(range(len(parts)), key=lambda at: parts[at].need):
        wanted = parts[at].width + len(BETWEEN)
        if wanted <= room or not chosen:
            chosen.add(at)
            room -= wanted
    return [part for at, part in enumerate(parts) if at in chosen]


def _moment(store: Store) -> Iterator[Part]:
    """Where it is not now that is shown: nothing else matters more, on however small a screen."""
    if store.playback:
        yield Part(-1, store.playback.words())
    if store.timeline.shown:
        ago = duration(store.clock() - store.timeline.shown.at_s)
        yield Part(0, f"REWOUND {ago}, 0 {'returns' if store.playback else 'is live'}")


def _api(status: RankStatus | None) -> Part:
    """Who waits for an answer needs to know of an endpoint that is not there."""
    state = state_name(status.api) if status and status.HasField("api") else UNKNOWN
    return Part(6 if state in {"READY", UNKNOWN} else 1, f"api {state}")


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
        width, alerts = max(self.size.width, 1), alerts_text(self._alerts)
        now_s = self._store.shown_at_s()
        text = header_text(self._store, now_s, width, alerts, read_only=self._read_only)
        if text != self._text:
            self._text = text
            self.update(text, layout=False)  # one line stays one line

    def on_resize(self) -> None:
        """Choose the parts for the new width."""
        self.paint()
