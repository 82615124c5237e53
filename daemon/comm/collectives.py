"""Collective operations over rounds of messages. Algorithms only: no links, no threads.

Reductions add in an order that depends on ranks alone, so every rank gets the same bits whatever
the timing. What is known of sizes and crossovers: docs/benchmarks/communication.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from daemon.comm import codec
from daemon.comm.rounds import SECOND_PHASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.comm.reductions import Array, Reduction
    from daemon.comm.rounds import Round

DOUBLING_BYTES = 256 * 1024
"""Below: whole vectors, log2(ranks) steps. Above: each rank reduces its share of the elements."""
SHARE_BYTES = 4 * 1024 * 1024
"""Of a segment, for each rank; smaller ones cost more messages than they gain overlap."""
AHEAD = 2
"""Segments on their way in each phase, so that adding overlaps with sending."""


def barrier(step: Round, rank: int, size: int) -> None:
    """Return when every rank has come (dissemination, log2(size) steps)."""
    distance = 1
    while distance < size:
        step.send((rank + distance) % size)
        step.receive((rank - distance) % size)
        distance *= 2


def broadcast(step: Round, rank: int, size: int, value: Any, root: int) -> Any:
    """``value`` of the root, on every rank (binomial tree)."""
    place = (rank - root) % size
    parts = codec.encode_parts(value) if place == 0 else []
    reach = 1
    while reach <= place:
        reach *= 2
    if place:
        payload = step.receive((place - reach // 2 + root) % size)
        parts, value = [payload], codec.decode(payload)
    while place + reach < size:
        step.send((place + reach + root) % size, *parts)
        reach *= 2
    return value


def all_gather(step: Round, rank: int, size: int, value: Any) -> list[Any]:
    """The values of all ranks, in rank order (each to each)."""
    parts = codec.encode_parts(value)
    for distance in range(1, size):
        step.send((rank + distance) % size, *parts)
    return [
        value if source == rank else codec.decode(step.receive(source)) for source in range(size)
    ]


def gather(step: Round, rank: int, size: int, value: Any, root: int) -> list[Any] | None:
    """The values of all ranks on the root; None elsewhere."""
    if rank != root:
        step.send(root, *codec.encode_parts(value))
        return None
    return [
        value if source == rank else codec.decode(step.receive(source)) for source in range(size)
    ]


def scatter(step: Round, rank: int, size: int, values: Sequence[Any] | None, root: int) -> Any:
    """The root's ``values[rank]``."""
    if rank != root:
        return codec.decode(step.receive(root))
    if values is None or len(values) != size:
        raise ValueError(f"scatter needs one value per rank: {size}")
    for target in range(size):
        if target != rank:
            step.send(target, *codec.encode_parts(values[target]))
    return values[rank]


def all_reduce(step: Round, rank: int, size: int, reduction: Reduction) -> Array:
    """The reduced elements of all ranks."""
    work = reduction.work
    if size == 1:
        return work.copy()
    if work.nbytes < DOUBLING_BYTES or work.size < size:
        return _double(step, rank, size, reduction)
    result = np.empty_like(work)
    _exchange_shares(step, rank, size, reduction, result)
    return result


def reduce_share(
    step: Round, rank: int, size: int, reduction: Reduction, bounds: Sequence[int]
) -> Array:
    """The reduced elements [bounds[rank], bounds[rank + 1]) of all ranks' vectors."""
    work = reduction.work
    for distance in range(1, size):
        target = (rank + distance) % size
        step.send(target, _bytes(work[bounds[target] : bounds[target + 1]]))
    mine = work[bounds[rank] : bounds[rank + 1]]
    out = np.empty_like(mine)
    _reduce_in_order(step, rank, size, reduction, mine, out)
    return out


def _double(step: Round, rank: int, size: int, reduction: Reduction) -> Array:
    """Recursive doubling; ranks beyond a power of two fold into their neighbours first."""
    accumulated = reduction.work
    core = 1 << (size.bit_length() - 1)
    extra = size - core
    # Of the first 2 * extra ranks, odd ones hand over to the even one below them.
    if rank < 2 * extra and rank % 2:
        step.send(rank - 1, _bytes(accumulated))
        return _array(step.receive(rank - 1), accumulated.dtype)
    if rank < 2 * extra:
        other = _array(step.receive(rank + 1), accumulated.dtype)
        accumulated = reduction.combine(accumulated, other)
    place = rank // 2 if rank < 2 * extra else rank - extra
    distance = 1
    while distance < core:
        peer = place ^ distance
        target = 2 * peer if peer < extra else peer + extra
        step.send(target, _bytes(accumulated))
        other = _array(step.receive(target), accumulated.dtype)
        low, high = (accumulated, other) if place < peer else (other, accumulated)
        accumulated = reduction.combine(low, high)
        distance *= 2
    if rank < 2 * extra:
        step.send(rank + 1, _bytes(accumulated))
    return accumulated


def _exchange_shares(
    step: Round, rank: int, size: int, reduction: Reduction, result: Array
) -> None:
    """Each rank reduces every size-th piece of each segment and sends it to all others.

    The two phases run side by side, ``AHEAD`` segments apart: what is under way stays bounded.
    """
    work = reduction.work
    per_segment = SHARE_BYTES // work.itemsize * size
    edges = [
        start + np.linspace(0, min(per_segment, work.size - start), size + 1).astype(int)
        for start in range(0, work.size, per_segment)
    ]
    others = [(rank + distance) % size for distance in range(1, size)]
    count = len(edges)
    for number in range(count + 2 * AHEAD):
        if number < count:
            edge = edges[number]
            for target in others:
                step.send(target, _bytes(work[edge[target] : edge[target + 1]]))
        if 0 <= number - AHEAD < count:
            edge = edges[number - AHEAD]
            mine = slice(edge[rank], edge[rank + 1])
            _reduce_in_order(step, rank, size, reduction, work[mine], result[mine])
            for target in others:
                step.send(target, _bytes(result[mine]), phase=SECOND_PHASE)
        if number - 2 * AHEAD >= 0:
            edge = edges[number - 2 * AHEAD]
            for source in others:
                share = _array(step.receive(source, phase=SECOND_PHASE), work.dtype)
                result[edge[source] : edge[source + 1]] = share


def _reduce_in_order(
    step: Round, rank: int, size: int, reduction: Reduction, mine: Array, out: Array
) -> None:
    """Combine the ranks' shares from rank 0 upwards into ``out``."""
    parts = (
        mine if source == rank else _array(step.receive(source), mine.dtype)
        for source in range(size)
    )
    first = next(parts)
    for index, part in enumerate(parts):
        reduction.combine(first if index == 0 else out, part, out=out)
    if size == 1:
        out[:] = first


def _bytes(array: Array) -> memoryview:
    view: Any = array.view(np.uint8)
    return memoryview(view)


def _array(payload: memoryview, dtype: np.dtype[Any]) -> Array:
    return np.frombuffer(payload, dtype)
