"""The kernels of a linear layer, y = x @ w.T, for packed and plain weights.

Every output of every row is summed in one order, however many rows there are: lane l adds the
products at positions l, l + lanes, ... one after another, then the lanes are folded. So a row's
result never depends on its neighbours, and a prompt run at once gives what single tokens give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.emit import F32, I8, I32, I64, ITEM_BYTES, Emit, i64, kernel_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.cpu.emit import Value

OUTPUTS = 4
"""Outputs that are summed side by side."""
PANEL_OUTPUTS = 16
PANEL_DEPTH = 1024
"""A panel of unpacked weights fits the first-level cache, with a tile of rows beside it."""
MOST_ROWS = 96
"""Rows of one call: they and their sums must fit the second-level cache."""
TILES_AHEAD = 2
"""How far ahead of the sums weights are asked for; outputs side by side are a tile."""


@dataclass(frozen=True)
class Weights:
    """How weights are stored."""

    dtype: str
    """Of plain weights, or of scales and biases."""
    bits: int = 0
    """0: plain."""
    group: int = 0

    @property
    def name(self) -> str:
        """For symbols."""
        return f"q{self.bits}g{self.group}_{self.dtype}" if self.bits else self.dtype


# Argument block: x, y, w, scales, biases, outputs, depth, outputs of a chunk, rows, w row bytes
X, Y, W, SCALES, BIASES, N, K, CHUNK, ROWS, W_ROW = range(10)


def tile_rows(lanes: int) -> int:
    """Rows that are multiplied side by side: as many sums as there are registers."""
    return 6 if lanes == 16 else 3


class _Linear:
    """What the two kernels share: the outputs of a chunk, and their weights."""

    def __init__(self, e: Emit, weights: Weights) -> None:
        self.e, self.weights = e, weights
        self.x, self.y, self.w = e.pointer(X), e.pointer(Y), e.pointer(W)
        self.n, self.k, self.w_row = e.argument(N), e.argument(K), e.argument(W_ROW)
        self.groups = e.b.sdiv(self.k, i64(weights.group or 1))
        first, last = e.chunk(e.argument(CHUNK), self.n)
        whole = e.add(first, e.b.and_(e.b.sub(last, first), i64(-OUTPUTS)))
        self.span = first, whole, last
        """Outputs of this chunk: first, end of those that run side by side, end."""

    def tiles(self, body: Callable[[Value, int], None]) -> None:
        """Run ``body(first output, how many)`` over the outputs of this chunk."""
        first, whole, last = self.span
        self.e.loop(first, whole, OUTPUTS, lambda o, _: body(o, OUTPUTS))
        self.e.loop(whole, last, 1, lambda o, _: body(o, 1))

    def widened(self, outputs: int) -> tuple[Value, Value] | None:
        """Scratch memory for scales and biases."""
        if not self.weights.bits:
            return None
        size = self.e.mul(self.groups, outputs * 4)
        return self.e.scratch(size), self.e.scratch(size)

    def widen_scales(
        self, output: Value, count: Value | int, scratch: tuple[Value, Value] | None
    ) -> None:
        """Scales and biases of ``count`` outputs as float32, [output][group]."""
        if scratch is None:
            return
        e, dtype = self.e, self.weights.dtype
        start = e.mul(output, self.groups)
        total = e.mul(self.groups, count)
        whole = e.b.and_(total, i64(-e.lanes))
        for argument, target in zip((SCALES, BIASES), scratch, strict=True):
            source = e.at(e.pointer(argument), e.mul(start, ITEM_BYTES[dtype]))

            def copy(g: Value, lanes: int, source: Value = source, target: Value = target) -> None:
                value = e.load(source, e.mul(g, ITEM_BYTES[dtype]), dtype, lanes)
                e.store_at(value, target, e.mul(g, 4))

            e.loop(0, whole, e.lanes, lambda g, _, copy=copy: copy(g, e.lanes))
            e.loop(whole, total, 1, lambda g, _, copy=copy: copy(g, 0))

    def unpacked(self, row: Value, at: Value) -> Value:
        """The lanes of packed weights at position ``at`` as whole numbers in float32."""
        e, bits, lanes = self.e, self.weights.bits, self.e.lanes
        offset = e.b.udiv(e.mul(at, bits), i64(8))
        if bits == 8:
            raw = e.b.zext(e.load_at(row, offset, ir.VectorType(I8, lanes)), _ints(lanes))
        elif bits == 4:
            half = ir.VectorType(ir.IntType(16), lanes // 2)
            pairs = e.b.zext(e.load_at(row, offset, ir.VectorType(I8, lanes // 2)), half)
            spread = e.b.or_(pairs, e.b.shl(pairs, _splat(half, 4)))
            nibbles = e.b.and_(spread, _splat(half, 0x0F0F))
            raw = e.b.zext(e.b.bitcast(nibbles, ir.VectorType(I8, lanes)), _ints(lanes))
        else:
            raw = self._bit_fields(row, offset)
        return e.b.uitofp(raw, e.vector)

    def _bit_fields(self, row: Value, offset: Value) -> Value:
        """Eight numbers of odd width are a whole number of bytes, lowest bits first."""
        e, bits = self.e, self.weights.bits
        wide = ir.VectorType(I64, 8)
        parts: list[Value] = []
        for part in range(e.lanes // 8):
            packed = e.load_at(row, e.add(offset, part * bits), ir.IntType(8 * bits))
            spread = e.splat(e.b.zext(packed, I64), 8)
            moved = e.b.lshr(spread, ir.Constant(wide, [bits * i for i in range(8)]))
            parts.append(e.b.trunc(e.b.and_(moved, _splat(wide, (1 << bits) - 1)), _ints(8)))
        if len(parts) == 1:
            return parts[0]
        return e.b.shuffle_vector(parts[0], parts[1], e.integers(range(16)))

    def each_position(
        self,
        output: Value,
        count: int,
        span: tuple[Value | int, Value],
        scratch: tuple[Value, Value, Value] | None,
        body: Callable[[Value, list[Value], list[Value]], list[Value]],
        state: list[Value],
    ) -> list[Value]:
        """Run ``body(position, weights of the outputs there, state)`` over a span of the depth.

        ``scratch``: the output with which the widened scales and biases begin, and these.
        """
        e, weights = self.e, self.weights
        first, scales, biases = scratch or (output, output, output)
        rows = [e.at(self.w, e.mul(e.add(output, j), self.w_row)) for j in range(count)]
        if not weights.bits:
            size = ITEM_BYTES[weights.dtype]

            def plain(at: Value, state: list[Value]) -> list[Value]:
                loaded = [e.load(row, e.mul(at, size), weights.dtype) for row in rows]
                self._prefetch(rows, e.mul(at, size), size * e.lanes)
                return body(at, loaded, state)

            return e.loop(span[0], span[1], e.lanes, plain, state)

        def group(at: Value, state: list[Value]) -> list[Value]:
            index = e.b.udiv(at, i64(weights.group))
            scale, bias = [], []
            for j in range(count):
                line = e.mul(e.add(e.b.sub(output, first), j), self.groups)
                place = e.mul(e.add(line, index), 4)
                scale.append(e.splat(e.load_at(scales, place, F32)))
                bias.append(e.splat(e.load_at(biases, place, F32)))
            self._prefetch(
                rows, e.b.udiv(e.mul(at, weights.bits), i64(8)), weights.group * weights.bits // 8
            )
            for step in range(0, weights.group, e.lanes):
                here = e.add(at, step)
                full = [
                    e.fma(self.unpacked(row, here), s, b)
                    for row, s, b in zip(rows, scale, bias, strict=True)
                ]
                state = body(here, full, state)
            return state

        return e.loop(span[0], span[1], weights.group, group, state)

    def _prefetch(self, rows: list[Value], offset: Value, size: int) -> None:
        """Ask for what the next outputs need; a row is too short for the processor to guess."""
        e = self.e
        ahead = e.mul(self.w_row, TILES_AHEAD * len(rows))
        for row in rows:
            for line in range(0, size, 64):
                e.prefetch(e.at(row, e.add(offset, ahead, line)))


def emit_one_row(module: ir.Module, name: str, lanes: int, weights: Weights, dtype: str) -> None:
    """x: one row of float32, from `emit_pack`; y: one of ``dtype``."""
    e = Emit(kernel_function(module, name), lanes)
    linear = _Linear(e, weights)
    scratch = linear.widened(OUTPUTS)
    item = ITEM_BYTES[dtype]

    def tile(output: Value, count: int) -> None:
        linear.widen_scales(output, count, scratch)

        def position(at: Value, w: list[Value], sums: list[Value]) -> list[Value]:
            x = e.load_at(linear.x, e.mul(at, 4), e.vector)
            return [e.fma(a, x, total) for a, total in zip(w, sums, strict=True)]

        whole, zeros = (i64(0), linear.k), [e.constant(0.0)] * count
        first = scratch and (output, *scratch)
        sums = linear.each_position(output, count, whole, first, position, zeros)
        for j, total in enumerate(sums):
            e.store(e.total(total), linear.y, e.mul(e.add(output, j), item), dtype)

    linear.tiles(tile)
    e.finish()


class _ManyRows(_Linear):
    """A panel of weights is unpacked once and multiplied with all rows, tile by tile."""

    def __init__(self, e: Emit, weights: Weights, dtype: str) -> None:
        super().__init__(e, weights)
        self.dtype = dtype
        self.rows, self.tile = e.argument(ROWS), tile_rows(e.lanes)
        self.vector = e.lanes * 4
        self.panel = e.scratch(PANEL_OUTPUTS * PANEL_DEPTH * 4)
        self.sums = e.scratch(MOST_ROWS * PANEL_OUTPUTS * self.vector)
        self.scratch = self.widened(PANEL_OUTPUTS)

    def emit(self) -> None:
        """All of the chunk."""
        e = self.e
        first, _, last = self.span
        self.widen_scales(first, e.b.sub(last, first), self.scratch)

        def depth(start: Value, _: list[Value]) -> None:
            stop = e.least(e.add(start, PANEL_DEPTH), self.k)
            self.tiles(lambda output, count: self.unpack(output, count, start, stop))
            tail = e.b.srem(self.rows, i64(self.tile))
            whole = e.b.sub(self.rows, tail)

            def tile(row: Value, height: int) -> None:
                self.tiles(
                    lambda output, count: self.multiply(row, height, output, count, (start, stop))
                )

            e.loop(0, whole, self.tile, lambda row, _: tile(row, self.tile))
            for height in range(1, self.tile):
                here = e.b.icmp_signed("==", tail, i64(height))
                e.when(here, lambda height=height: tile(whole, height))

        e.loop(0, self.k, PANEL_DEPTH, depth)

    def place(self, output: Value) -> Value:
        """Where the panel of ``output`` begins, in bytes."""
        return self.e.mul(self.e.b.sub(output, self.span[0]), PANEL_DEPTH * 4)

    def unpack(self, output: Value, count: int, start: Value, stop: Value) -> None:
        """Weights at [start, stop) of the depth as float32, [vector][output][lane]."""
        e, base = self.e, self.place(output)

        def position(at: Value, w: list[Value], _: list[Value]) -> list[Value]:
            place = e.add(base, e.mul(e.b.sub(at, start), 4 * count))
            for j, value in enumerate(w):
                e.store_at(value, self.panel, e.add(place, j * self.vector))
            return []

        first = self.scratch and (self.span[0], *self.scratch)
        self.each_position(output, count, (start, stop), first, position, [])

    def multiply(
        self, row: Value, height: int, output: Value, count: int, span: tuple[Value, Value]
    ) -> None:
        """Rows [row, row + height) with a panel; sums rest in memory from panel to panel."""
        e, vector = self.e, self.vector
        x = e.at(self.x, e.mul(e.add(e.mul(row, self.k), e.mul(span[0], height)), 4))
        w = e.at(self.panel, self.place(output))
        column = e.mul(e.b.sub(output, self.span[0]), vector)
        held = [
            e.add(e.mul(e.add(row, r), PANEL_OUTPUTS * vector), column, j * vector)
            for r in range(height)
            for j in range(count)
        ]
        begins = e.b.icmp_signed("==", span[0], i64(0))
        sums = [
            e.b.select(begins, e.constant(0.0), e.load_at(self.sums, place, e.vector))
            for place in held
        ]

        def position(at: Value, sums: list[Value]) -> list[Value]:
            columns = [
                e.load_at(w, e.add(e.mul(at, 4 * count), j * vector), e.vector)
                for j in range(count)
            ]
            new: list[Value] = []
            for r in range(height):
                value = e.load_at(x, e.add(e.mul(at, 4 * height), r * vector), e.vector)
                old = sums[r * count : (r + 1) * count]
                new += [e.fma(c, value, total) for c, total in zip(columns, old, strict=True)]
            return new

        sums = e.loop(0, e.b.sub(span[1], span[0]), e.lanes, position, sums)
        ends = e.b.icmp_signed("==", span[1], self.k)
        with e.b.if_else(ends) as (write, keep):
            with write:
                self.write(row, output, count, sums)
            with keep:
                for place, value in zip(held, sums, strict=True):
                    e.store_at(value, self.sums, place)

    def write(self, row: Value, output: Value, count: int, sums: list[Value]) -> None:
        """Fold the sums of a tile and store them as results."""
        e, item = self.e, ITEM_BYTES[self.dtype]
        for index, total in enumerate(sums):
            line = e.mul(e.add(row, index // count), self.n)
            place = e.mul(e.add(line, output, index % count), item)
            e.store(e.total(total), self.y, place, self.dtype)


def emit_many_rows(module: ir.Module, name: str, lanes: int, weights: Weights, dtype: str) -> None:
    """x: packed by `emit_pack`; y: rows of ``dtype``; chunks of `PANEL_OUTPUTS`."""
    e = Emit(kernel_function(module, name), lanes)
    _ManyRows(e, weights, dtype).emit()
    e.finish()


# Argument block of pack: source, target, rows, depth, row bytes of the source
PACK_SOURCE, PACK_TARGET, PACK_ROWS, PACK_K, PACK_STRIDE = range(5)


def emit_pack(module: ir.Module, name: str, lanes: int, dtype: str) -> None:
    """Rows as float32 in the order `emit_many_rows` reads them: [tile][vector][row][lane].

    A chunk is a tile of rows.
    """
    e = Emit(kernel_function(module, name), lanes)
    source, target = e.pointer(PACK_SOURCE), e.pointer(PACK_TARGET)
    rows, depth, stride = e.argument(PACK_ROWS), e.argument(PACK_K), e.argument(PACK_STRIDE)
    tile = tile_rows(lanes)
    first = e.mul(e.function.args[1], tile)
    height = e.least(e.b.sub(rows, first), i64(tile))
    base = e.at(target, e.mul(first, depth, 4))

    def row(r: Value, _: list[Value]) -> None:
        here = e.at(source, e.mul(e.add(first, r), stride))

        def vector(at: Value, _: list[Value]) -> None:
            value = e.load(here, e.mul(at, ITEM_BYTES[dtype]), dtype)
            e.store_at(value, base, e.mul(e.add(e.mul(at, height), e.mul(r, lanes)), 4))

        e.loop(0, depth, lanes, vector)

    e.loop(0, height, 1, row)
    e.finish()


def _ints(lanes: int) -> ir.VectorType:
    return ir.VectorType(I32, lanes)


def _splat(kind: ir.VectorType, value: int) -> Value:
    return ir.Constant(kind, [value] * kind.count)
