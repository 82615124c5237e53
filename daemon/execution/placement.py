"""Decides which rank owns which layers, from numbers alone. Pure, no MLX; any thread.

A stage's time is what it reads per token: its layers, and on the last rank the head. Its memory is
everything it holds: the embedding too, and the KV cache of the budgeted context. The slowest
stage is made as fast as the memory allows; then the fullest rank as empty as that speed allows.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from daemon.errors import PlacementError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.execution.card import ModelCard

DEFAULT_KV_TOKENS = 4096
"""Context that each rank has room for, in tokens summed over all sequences."""
USABLE = 0.9
"""Part of a device's memory for weights and KV; the rest is for activations and the system."""
SEARCH_STEPS = 48
"""Bisections: the answer is exact to 1 in 2**48."""


@dataclass(frozen=True)
class Device:
    """What one rank offers."""

    memory_bytes: int
    """That MLX may use."""
    speed: float = 1.0
    """Weight bytes that it works through per second; for `place` only the ratios matter."""


@dataclass(frozen=True)
class RankForecast:
    """What a placement means for one rank."""

    lo: int
    hi: int
    weights_bytes: int
    kv_capacity_tokens: int
    """Tokens of context, over all sequences, that fit beside the weights."""
    token_s: float
    """Time for one token, from the device's speed."""


def place(
    card: ModelCard,
    limits: Sequence[int],
    speeds: Sequence[float] | None = None,
    kv_tokens: int | None = None,
) -> tuple[tuple[int, int], ...]:
    """Layer ranges [lo, hi), one per rank in rank order.

    Args:
        card: the model.
        limits: bytes of memory of each rank's device.
        speeds: relative speed of each; equal if not given.
        kv_tokens: context to leave room for; the smaller of `DEFAULT_KV_TOKENS` and the model's.

    Raises:
        PlacementError: more ranks than the legal cuts allow, or too little memory; the text says
            how much is missing and what would fit.
    """
    tokens = min(DEFAULT_KV_TOKENS, card.max_context) if kv_tokens is None else kv_tokens
    rates = speeds or [1.0] * len(limits)
    devices = [Device(limit, rate) for limit, rate in zip(limits, rates, strict=True)]
    problem = _Problem.of(card, devices, tokens)
    if len(devices) > len(problem.edges) - 1:
        raise PlacementError(
            f"{card.model_type} can be cut into at most {len(problem.edges) - 1} parts, "
            f"but there are {len(devices)} ranks: start fewer"
        )
    if not problem.feasible(float("inf"), 1.0):
        raise PlacementError(_shortage(card, devices, tokens))
    # The bounds hold for any feasible placement, so both searches start with an answer.
    slowest = sum(problem.work(r, 0, len(problem.edges) - 1) for r in range(len(devices)))
    time_s = _smallest(slowest, lambda bound: problem.feasible(bound, 1.0))
    fill = _smallest(1.0, lambda bound: problem.feasible(time_s, bound))
    return problem.ranges(time_s, fill)


def forecast(
    card: ModelCard, ranges: Sequence[tuple[int, int]], devices: Sequence[Device]
) -> tuple[RankForecast, ...]:
    """What each rank holds, how much context fits, and how long a token takes."""
    problem = _Problem.of(card, devices, kv_tokens=0)
    rows: list[RankForecast] = []
    for rank, ((lo, hi), device) in enumerate(zip(ranges, devices, strict=True)):
        start, stop = problem.edges.index(lo), problem.edges.index(hi)
        weights = problem.memory(rank, start, stop)
        per_token = sum(card.kv_token_bytes[lo:hi])
        room = max(0, int(device.memory_bytes * USABLE) - weights)
        capacity = room // per_token if per_token else card.max_context
        rows.append(RankForecast(lo, hi, weights, capacity, problem.work(rank, start, stop)))
    return tuple(rows)


@dataclass(frozen=True)
class _Problem:
    """Prefix sums over the segments between legal cuts, and what each rank has besides."""

    edges: list[int]
    """Layer numbers where a range may begin or end."""
    held: list[int]
    """Bytes of weights and KV before each edge."""
    read: list[int]
    """Bytes read per token before each edge."""
    extra_held: list[int]
    """Per rank, besides its layers."""
    extra_read: list[int]
    devices: list[Device]

    @staticmethod
    def of(card: ModelCard, devices: Sequence[Device], kv_tokens: int) -> _Problem:
        count = len(devices)
        edges = [0, *card.legal_cuts, card.n_layers]
        layers = zip(card.layer_bytes, card.kv_token_bytes, strict=True)
        held = [0, *accumulate(weights + kv * kv_tokens for weights, kv in layers)]
        read = [0, *accumulate(card.layer_work_bytes)]
        if count == 1:
            alone = card.whole_bytes - sum(card.layer_bytes)
            extra_held, extra_read = [alone], [min(alone, card.head_bytes)]
        else:
            extra_held = [card.shared_bytes] * count
            extra_held[0] += card.embed_bytes
            extra_held[-1] += card.head_bytes
            extra_read = [0] * (count - 1) + [card.head_bytes]
        return _Problem(
            edges,
            [held[edge] for edge in edges],
            [read[edge] for edge in edges],
            extra_held,
            extra_read,
            list(devices),
        )

    def memory(self, rank: int, start: int, stop: int) -> int:
        """Bytes that ``rank`` needs for the segments [start, stop)."""
        return self.held[stop] - self.held[start] + self.extra_held[rank]

    def work(self, rank: int, start: int, stop: int) -> float:
        """Seconds (in units of the speeds) that ``rank`` needs per token for them."""
        read = self.read[stop] - self.read[start] + self.extra_read[rank]
        return read / self.devices[rank].speed

    def feasible(self, time_s: float, fill: float) -> bool:
        """Whether all segments find a place with no stage slower and no rank fuller than that."""
        return len(self.edges) - 1 in self._reachable(time_s, fill)[-1]

    def ranges(self, time_s: float, fill: float) -> tuple[tuple[int, int], ...]:
        """A placement within the bounds, as even as they allow."""
        reachable = self._reachable(time_s, fill)
        stop = len(self.edges) - 1
        found: list[tuple[int, int]] = []
        for rank in reversed(range(len(self.devices))):
            wanted = self._even_start(rank, stop)
            starts = (
                edge
                for edge in reachable[rank]
                if edge < stop <= self._furthest(rank, edge, time_s, fill)
            )
            start = min(starts, key=lambda edge: (abs(self.read[edge] - wanted), -edge))
            found.append((self.edges[start], self.edges[stop]))
            stop = start
        return tuple(reversed(found))

    def _even_start(self, rank: int, stop: int) -> float:
        """Bytes read before ``rank``, if it and the ranks before shared all up to ``stop``."""
        speeds = [device.speed for device in self.devices[: rank + 1]]
        own = self.extra_read[rank]
        total = self.read[stop] + sum(self.extra_read[: rank + 1])
        return self.read[stop] + own - total * speeds[rank] / sum(speeds)

    def _reachable(self, time_s: float, fill: float) -> list[set[int]]:
        """Per rank the edges at which it may start; one set more for the end."""
        reachable = [{0}]
        last = len(self.edges) - 1
        for rank in range(len(self.devices)):
            latest = last - (len(self.devices) - 1 - rank)  # every later rank needs a segment
            ends: set[int] = set()
            covered = 0
            for start in sorted(reachable[-1]):
                furthest = min(latest, self._furthest(rank, start, time_s, fill))
                ends.update(range(max(start, covered) + 1, furthest + 1))
                covered = max(covered, furthest)
            reachable.append(ends)
        return reachable

    def _furthest(self, rank: int, start: int, time_s: float, fill: float) -> int:
        """Last edge that ``rank`` can own up to from ``start``; ``start`` itself if none."""
        device = self.devices[rank]
        room = device.memory_bytes * USABLE * fill - self.extra_held[rank]
        budget = time_s * device.speed - self.extra_read[rank]
        by_memory = bisect_right(self.held, self.held[start] + room) - 1
        by_time = bisect_right(self.read, self.read[start] + budget) - 1
        return max(start, min(by_memory, by_time))


def _smallest(upper: float, holds: Callable[[float], bool]) -> float:
    """The smallest bound (to within the search's precision) for which ``holds``."""
    low, high = 0.0, upper
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _shortage(card: ModelCard, devices: list[Device], tokens: int) -> str:
    """What is missing, and what would fit instead."""
    offered = sum(device.memory_bytes for device in devices)

    def fits(factor: float, kv_tokens: float) -> bool:
        grown = [replace(d, memory_bytes=int(d.memory_bytes * factor)) for d in devices]
        return _Problem.of(card, grown, int(kv_tokens)).feasible(float("inf"), 1.0)

    enough = 2.0
    while not fits(enough, tokens):
        enough *= 2
    factor = _smallest(enough, lambda bound: fits(bound, tokens))
    missing = max(1, int(offered * (factor - 1)))
    text = (
        f"{card.model_type} with room for {tokens:,} tokens of context does not fit on "
        f"{len(devices)} rank(s) that offer {_size(offered)} together: {missing:,} bytes "
        f"({_size(missing)}) are missing"
    )
    if not fits(1.0, 0):
        return f"{text}; the weights alone ({_size(card.whole_bytes)}) are too much: add ranks"
    less = tokens - _smallest(float(tokens), lambda fewer: fits(1.0, tokens - fewer))
    return f"{text}; {int(less):,} tokens of context would fit"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.1f} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1024
    return f"{count:.1f} TiB"
