"""Decides which rank owns which layers, from numbers alone. Pure, no MLX; any thread.

A stage's time is what it reads per token: its layers, and on the last rank the head. Its memory is
everything it holds: the embedding too, and the KV cache of the budgeted context. The slowest
stage is made as fast as the memory allows; then the fullest rank as empty as that speed allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from daemon.errors import PlacementError
from daemon.execution.shortage import describe, smallest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.execution.model_card import ModelCard

DEFAULT_KV_TOKENS = 4096
"""Context that each rank has room for, in tokens summed over all sequences."""
USABLE = 0.9
"""Part of a device's memory for weights and KV; the rest is for activations and the system."""
ROUNDING = 1e-12
"""What a product of floats may be off by; a single rank has no other slack."""
Flags = np.ndarray[Any, np.dtype[np.bool_]]
"""One per edge."""


@dataclass(frozen=True)
class Device:
    """What one rank offers."""

    memory_bytes: int
    """That MLX may use."""
    speed: float = 1.0
    """Weight bytes that it works through per second; for `place` only the ratios matter."""
    flops: float = 0.0
    """Operations per second with many rows; 0: the memory is always slower."""


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
        raise PlacementError(describe(card, devices, tokens, fits))
    # The bounds hold for any feasible placement, so both searches start with an answer.
    slowest = sum(problem.work(r, 0, len(problem.edges) - 1) for r in range(len(devices)))
    slowest *= 1 + ROUNDING
    time_s = smallest(slowest, lambda bound: problem.feasible(bound, 1.0))
    fill = smallest(1.0, lambda bound: problem.feasible(time_s, bound))
    return problem.ranges(time_s, fill)


def fits(card: ModelCard, devices: Sequence[Device], kv_tokens: int) -> bool:
    """Whether there is any legal placement with room for that much context."""
    return _Problem.of(card, devices, kv_tokens).feasible(float("inf"), 1.0)


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
    held: np.ndarray[Any, np.dtype[np.int64]]
    """Bytes of weights and KV before each edge."""
    read: np.ndarray[Any, np.dtype[np.int64]]
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
            np.array([held[edge] for edge in edges]),
            np.array([read[edge] for edge in edges]),
            extra_held,
            extra_read,
            list(devices),
        )

    def memory(self, rank: int, start: int, stop: int) -> int:
        """Bytes that ``rank`` needs for the segments [start, stop)."""
        return int(self.held[stop] - self.held[start]) + self.extra_held[rank]

    def work(self, rank: int, start: int, stop: int) -> float:
        """Seconds (in units of the speeds) that ``rank`` needs per token for them."""
        read = int(self.read[stop] - self.read[start]) + self.extra_read[rank]
        return read / self.devices[rank].speed

    def feasible(self, time_s: float, fill: float) -> bool:
        """Whether all segments find a place with no stage slower and no rank fuller than that."""
        return bool(self._reachable(time_s, fill)[-1][-1])

    def ranges(self, time_s: float, fill: float) -> tuple[tuple[int, int], ...]:
        """A placement within the bounds, as even as they allow."""
        reachable = self._reachable(time_s, fill)
        stop = len(self.edges) - 1
        found: list[tuple[int, int]] = []
        for rank in reversed(range(len(self.devices))):
            wanted = self._even_start(rank, stop)
            furthest = self._furthest(rank, time_s, fill)
            starts = np.flatnonzero(reachable[rank][:stop] & (furthest[:stop] >= stop))
            start = min(map(int, starts), key=lambda edge: (abs(self.read[edge] - wanted), -edge))
            found.append((self.edges[start], self.edges[stop]))
            stop = start
        return tuple(reversed(found))

    def _even_start(self, rank: int, stop: int) -> float:
        """Bytes read before ``rank``, if it and the ranks before shared all up to ``stop``."""
        speeds = [device.speed for device in self.devices[: rank + 1]]
        own = self.extra_read[rank]
        total = int(self.read[stop]) + sum(self.extra_read[: rank + 1])
        return int(self.read[stop]) + own - total * speeds[rank] / sum(speeds)

    def _reachable(self, time_s: float, fill: float) -> list[Flags]:
        """Per rank the edges at which it may start; one row more for the end."""
        count = len(self.edges)
        first = np.zeros(count, np.bool_)
        first[0] = True
        reachable = [first]
        for rank in range(len(self.devices)):
            starts = np.flatnonzero(reachable[-1])
            furthest = self._furthest(rank, time_s, fill)[starts]
            # Every later rank needs a segment.
            furthest = np.minimum(furthest, count - len(self.devices) + rank)
            moves = starts < furthest
            # Each start opens the edges (start, furthest]: a step up behind it, one down after.
            steps = np.zeros(count + 1, np.int64)
            np.add.at(steps, starts[moves] + 1, 1)
            np.add.at(steps, furthest[moves] + 1, -1)
            reachable.append(np.cumsum(steps[:-1]) > 0)
        return reachable

    def _furthest(self, rank: int, time_s: float, fill: float) -> np.ndarray[Any, Any]:
        """Per edge the last one that ``rank`` can own up to from there; before it if none."""
        device = self.devices[rank]
        room = device.memory_bytes * USABLE * fill - self.extra_held[rank]
        budget = time_s * device.speed - self.extra_read[rank]
        by_memory = np.searchsorted(self.held, self.held + room, side="right")
        by_time = np.searchsorted(self.read, self.read + budget, side="right")
        return np.minimum(by_memory, by_time) - 1
