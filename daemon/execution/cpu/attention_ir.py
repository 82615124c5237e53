"""The kernel of attention: queries against all keys that they may see, then the values.

A query's sums run over positions one after another, and a masked position adds nothing. So its
result depends neither on the other queries of a chunk nor on the padding of a batch: a token that
is run with its prompt gives what it gives alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.emit import F32, I8, ITEM_BYTES, Emit, i64, kernel_function
from daemon.execution.cpu.rows_ir import exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.cpu.emit import Value

# Argument block. *_BATCH, *_HEAD, *_ROW: strides in bytes.
Q, K, V, OUT, MASK, SCALE, HEADS, GROUP, LENGTH, KEYS = range(10)
Q_BATCH, Q_HEAD, Q_ROW, K_BATCH, K_HEAD, K_ROW, V_BATCH, V_HEAD, V_ROW = range(10, 19)
MASK_BATCH, MASK_HEAD, MASK_ROW, MASK_KEY, TILES = range(19, 24)
WORDS = 24
MASKS = ("none", "causal", "bool", "add")
MASKED = -3.4028234663852886e38
"""Like MLX's: a query that may see nothing averages over all instead of being no number."""
TILE = 2
"""Queries at a time: heads that share keys, or neighbours of a prompt."""


@dataclass(frozen=True)
class Shape:
    """What a kernel is built for."""

    dtype: str
    depth: int
    """Of queries and keys."""
    width: int
    """Of values."""
    mask: str

    @property
    def name(self) -> str:
        """For symbols."""
        return f"attention_{self.dtype}_{self.depth}_{self.width}_{self.mask}"


def emit_attention(module: ir.Module, name: str, lanes: int, shape: Shape) -> None:
    """q, k, v: (batch, heads, positions, depth), any strides; out: (batch, length, heads, width).

    HEADS counts those of keys, GROUP the queries' heads of each. A chunk is a tile of one head.
    """
    e = Emit(kernel_function(module, name), lanes)
    _Attention(e, shape).emit()
    e.finish()


class _Attention:
    def __init__(self, e: Emit, shape: Shape) -> None:
        self.e, self.shape = e, shape
        self.item = ITEM_BYTES[shape.dtype]
        self.heads, self.group = e.argument(HEADS), e.argument(GROUP)
        self.length, self.keys = e.argument(LENGTH), e.argument(KEYS)
        chunk, tiles = e.function.args[1], e.argument(TILES)
        pair = e.b.sdiv(chunk, tiles)
        self.first = e.mul(e.b.srem(chunk, tiles), TILE)
        self.batch, self.head = e.b.sdiv(pair, self.heads), e.b.srem(pair, self.heads)
        self.k = self.base(K, K_BATCH, K_HEAD, self.head)
        self.v = self.base(V, V_BATCH, V_HEAD, self.head)
        room = e.mul(e.add(self.keys, e.lanes), 4)
        self.scores = [e.scratch(room) for _ in range(TILE)]

    def base(self, pointer: int, batch: int, head: int, at: Value) -> Value:
        """Address of a head."""
        e = self.e
        offset = e.add(e.mul(self.batch, e.argument(batch)), e.mul(at, e.argument(head)))
        return e.at(e.pointer(pointer), offset)

    def emit(self) -> None:
        """The chunk: a whole tile, or what is left of the queries."""
        e = self.e
        left = e.b.sub(e.mul(self.group, self.length), self.first)
        with e.b.if_else(e.b.icmp_signed(">=", left, i64(TILE))) as (whole, rest):
            with whole:
                self.tile(TILE)
            with rest:
                self.tile(1)

    def tile(self, count: int) -> None:
        """``count`` queries."""
        e = self.e
        # Neighbours in a tile are heads of one position first: they share what they may see.
        numbers = [e.add(self.first, i) for i in range(count)]
        rows = [e.b.sdiv(number, self.group) for number in numbers]
        heads = [
            e.add(e.mul(self.head, self.group), e.b.srem(number, self.group)) for number in numbers
        ]
        seen = self.keys
        if self.shape.mask == "causal":
            seen = e.add(e.b.sub(self.keys, self.length), rows[-1], 1)
        most = self.score(rows, heads, seen)
        for scores, highest in zip(self.scores, most, strict=False):
            self.weigh(scores, highest, seen)
        self.sum_up(rows, heads, seen)

    def score(self, rows: list[Value], heads: list[Value], seen: Value) -> list[Value]:
        """Scaled and masked products with the keys; the highest of each query."""
        e, shape = self.e, self.shape
        step, scale = e.argument(K_ROW), e.number(SCALE)
        queries: list[list[Value]] = []
        for row, head in zip(rows, heads, strict=True):
            q = e.at(self.base(Q, Q_BATCH, Q_HEAD, head), e.mul(row, e.argument(Q_ROW)))
            queries.append(
                [e.load(q, at * self.item, shape.dtype) for at in range(0, shape.depth, e.lanes)]
            )
        masks = [self.mask(row, head) for row, head in zip(rows, heads, strict=True)]

        def key(j: Value, highest: list[Value]) -> list[Value]:
            line = e.at(self.k, e.mul(j, step))
            sums = [e.constant(0.0)] * len(rows)
            for part, at in enumerate(range(0, shape.depth, e.lanes)):
                value = e.load(line, at * self.item, shape.dtype)
                sums = [
                    e.fma(q[part], value, total) for q, total in zip(queries, sums, strict=True)
                ]
            new: list[Value] = []
            for t, total in enumerate(sums):
                score = masks[t](e.b.fmul(e.total(total), scale), j)
                e.store_at(score, self.scores[t], e.mul(j, 4))
                higher = e.b.fcmp_ordered(">", score, highest[t])
                new.append(e.b.select(higher, score, highest[t]))
            return new

        return e.loop(0, seen, 1, key, [ir.Constant(F32, MASKED)] * len(rows))

    def mask(self, row: Value, head: Value) -> Callable[[Value, Value], Value]:
        """What becomes of a score at key j."""
        e, kind = self.e, self.shape.mask
        if kind == "none":
            return lambda score, _: score
        hidden = ir.Constant(F32, MASKED)
        if kind == "causal":
            last = e.add(e.b.sub(self.keys, self.length), row)
            return lambda score, j: e.b.select(e.b.icmp_signed("<=", j, last), score, hidden)
        line = e.at(self.base(MASK, MASK_BATCH, MASK_HEAD, head), e.mul(row, e.argument(MASK_ROW)))
        step = e.argument(MASK_KEY)
        if kind == "add":
            return lambda score, j: e.b.fadd(score, e.load_at(line, e.mul(j, step), F32))

        def see(score: Value, j: Value) -> Value:
            visible = e.b.icmp_unsigned("!=", e.load_at(line, e.mul(j, step), I8), I8(0))
            return e.b.select(visible, score, hidden)

        return see

    def weigh(self, scores: Value, highest: Value, seen: Value) -> None:
        """Scores to weights, not yet divided by their sum."""
        e = self.e
        top = e.splat(highest)

        def vector(at: Value, _: list[Value]) -> None:
            place = e.mul(at, 4)
            weight = exponential(e, e.b.fsub(e.load_at(scores, place, e.vector), top))
            e.store_at(weight, scores, place)

        e.loop(0, seen, e.lanes, vector)

    def sum_up(self, rows: list[Value], heads: list[Value], seen: Value) -> None:
        """Weighted values, divided by the sum of weights."""
        e, shape = self.e, self.shape
        parts = range(0, shape.width, e.lanes)
        step, count = e.argument(V_ROW), len(rows)

        def position(j: Value, state: list[Value]) -> list[Value]:
            line = e.at(self.v, e.mul(j, step))
            weights = [e.load_at(self.scores[t], e.mul(j, 4), F32) for t in range(count)]
            new = [e.b.fadd(total, w) for total, w in zip(state, weights, strict=False)]
            spread = [e.splat(weight) for weight in weights]
            sums = state[count:]
            for index, at in enumerate(parts):
                value = e.load(line, at * self.item, shape.dtype)
                old = sums[index * count : (index + 1) * count]
                new += [e.fma(w, value, total) for w, total in zip(spread, old, strict=True)]
            return new

        zeros = [ir.Constant(F32, 0.0)] * count + [e.constant(0.0)] * (count * len(parts))
        ends = e.loop(0, seen, 1, position, zeros)
        for t, (row, head) in enumerate(zip(rows, heads, strict=True)):
            line = e.add(e.mul(self.batch, self.length), row)
            all_heads = e.mul(self.heads, self.group)
            base = e.mul(e.add(e.mul(line, all_heads), head), shape.width * self.item)
            factor = e.splat(e.b.fdiv(ir.Constant(F32, 1.0), ends[t]))
            for index, at in enumerate(parts):
                value = e.b.fmul(ends[count + index * count + t], factor)
                e.store(value, e.pointer(OUT), e.add(base, at * self.item), shape.dtype)
