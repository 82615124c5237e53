"""What a rank did in the last few seconds, from its counters: rates, shares, percentiles.

Pure; the caller brings the clock. Counters of another boot_id begin a new window: no spike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.histogram import quantile_s, since

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protos.control_pb2 import RankStatus

WINDOW_S = 3.0
LEAST_S = 0.2
"""Two readings that are closer say little."""
HISTOGRAMS = ("stage_times", "step_times", "first_token_times")
COUNTERS = (
    "steps",
    "tokens_in",
    "tokens_out",
    "compute_s",
    "wait_s",
    "send_s",
    "serialise_s",
    "wall_s",
    "bytes_sent",
    "bytes_received",
    "prefix_lookup_tokens",
    "prefix_hit_tokens",
    "telemetry_s",
)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of durations in seconds; None where none was counted."""

    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None


NOTHING = Percentiles()


@dataclass(frozen=True, slots=True)
class RankFigures:
    """One window; None where nothing can be known, never zero in its place."""

    tokens_in: float | None = None
    """Per second, as the next."""
    tokens_out: float | None = None
    bytes_sent: float | None = None
    bytes_received: float | None = None
    bubble: float | None = None
    """Share of the time, 0 to 1, that the rank did not compute; None while nothing runs."""
    wait: float | None = None
    """Share of the time that it waited for the rank before it, or for results."""
    send: float | None = None
    """Share of the time that it handed results on: with a full link, waiting to send."""
    compute_step_s: float | None = None
    """Mean per step, as the next three."""
    wait_step_s: float | None = None
    send_step_s: float | None = None
    serialise_step_s: float | None = None
    telemetry: float | None = None
    """Share of the time that measuring and reporting took."""
    prefix_hits: float | None = None
    """Share of the prompt tokens looked up that were found."""
    stage: Percentiles = NOTHING
    """The rank's own part of a step."""
    step: Percentiles = NOTHING
    """A step through all ranks (rank 0)."""
    first_token: Percentiles = NOTHING
    """Of requests (rank 0)."""
    links: Mapping[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    """Bytes per second to and from each peer."""


UNKNOWN = RankFigures()


@dataclass(frozen=True, slots=True)
class _Reading:
    at_s: float
    counters: dict[str, float]
    histograms: dict[str, list[int]]
    links: dict[int, tuple[int, int]]


class RankWindow:
    """The readings of one rank over the last seconds."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._boot_id = ""
        self._readings: deque[_Reading] = deque(maxlen=64)
        self._figures: RankFigures | None = UNKNOWN

    def add(self, at_s: float, status: RankStatus) -> None:
        """Take a reading."""
        counters = {name: getattr(status.counters, name) for name in COUNTERS}
        last = self._readings[-1].counters if self._readings else counters
        if status.boot_id != self._boot_id or any(counters[n] < last[n] for n in COUNTERS):
            self._readings.clear()
            self._boot_id = status.boot_id
        histograms = {name: list(getattr(status, name).counts) for name in HISTOGRAMS}
        links = {link.peer: (link.bytes_sent, link.bytes_received) for link in status.links}
        self._readings.append(_Reading(at_s, counters, histograms, links))
        while len(self._readings) > 2 and at_s - self._readings[1].at_s >= self._window_s:
            self._readings.popleft()
        self._figures = None

    def figures(self) -> RankFigures:
        """What the readings say; the same object until the next reading."""
        if self._figures is None:
            first, last = self._readings[0], self._readings[-1]
            known = last.at_s - first.at_s >= LEAST_S
            self._figures = _figures(first, last) if known else UNKNOWN
        return self._figures


class FixedWindow(RankWindow):
    """A window as it was once."""

    def __init__(self, figures: RankFigures) -> None:
        super().__init__()
        self._figures = figures


def _figures(first: _Reading, last: _Reading) -> RankFigures:
    spent = {name: last.counters[name] - first.counters[name] for name in COUNTERS}
    span_s, wall_s, steps = last.at_s - first.at_s, spent["wall_s"], spent["steps"]
    runs = steps > 0 and wall_s > 0

    def share(name: str) -> float | None:
        return min(1.0, spent[name] / wall_s) if runs else None

    def each(name: str) -> float | None:
        return spent[name] / steps if runs else None

    computing = share("compute_s")
    looked_up = spent["prefix_lookup_tokens"]
    return RankFigures(
        tokens_in=spent["tokens_in"] / span_s,
        tokens_out=spent["tokens_out"] / span_s,
        bytes_sent=spent["bytes_sent"] / span_s,
        bytes_received=spent["bytes_received"] / span_s,
        bubble=None if computing is None else 1 - computing,
        wait=share("wait_s"),
        send=share("send_s"),
        compute_step_s=each("compute_s"),
        wait_step_s=each("wait_s"),
        send_step_s=each("send_s"),
        serialise_step_s=each("serialise_s"),
        telemetry=min(1.0, spent["telemetry_s"] / wall_s) if wall_s > 0 else None,
        prefix_hits=spent["prefix_hit_tokens"] / looked_up if looked_up else None,
        **{name[: -len("_times")]: _percentiles(first, last, name) for name in HISTOGRAMS},
        links={
            peer: ((sent - first.links[peer][0]) / span_s, (got - first.links[peer][1]) / span_s)
            for peer, (sent, got) in last.links.items()
            if peer in first.links
        },
    )


def _percentiles(first: _Reading, last: _Reading, name: str) -> Percentiles:
    counts = since(last.histograms[name], first.histograms[name])
    return Percentiles(*(quantile_s(counts, share) for share in (0.50, 0.95, 0.99)))
