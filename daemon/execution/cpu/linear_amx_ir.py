"""A quantised linear layer on tile registers: weights as they are stored, rows as digits.

A tile product sums a group's whole numbers exactly, so only what comes after it rounds: each output
adds its groups one after another, in float32. One row, a few and many do the same, bit for bit.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.amx_ir import TILE_BYTES, TILE_ROWS, Tiles, ask_ahead, each_tile
from daemon.execution.cpu.digits_ir import COLUMNS, DIGITS, FEW_ROWS, LANES, QUAD, Layout
from daemon.execution.cpu.emit import F32, I32, ITEM_BYTES, Emit, i64, kernel_function
from daemon.execution.cpu.linear_ir import BIASES, CHUNK, ROWS, SCALES, W_ROW, K, N, W, X, Y
from daemon.execution.cpu.scales_ir import Scales
from daemon.execution.cpu.unpack_ir import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.execution.cpu.emit import Value
    from daemon.execution.cpu.linear_ir import Weights

WIDE = {1: 2, FEW_ROWS: 2, TILE_ROWS: 1}
"""Tiles of outputs side by side, for one row, a few, and tiles of rows."""
SIDE_BY_SIDE = {FEW_ROWS: 4, TILE_ROWS: 6}
"""Additions after each step of a product."""
AHEAD = 8
"""Groups between asking for weights and multiplying with them: longer than memory takes."""
CHUNK_OUTPUTS = 64
MOST_ROWS = 96
"""Rows of one call: they must fit the second-level cache beside some weights."""
_WHOLE = ir.VectorType(I32, LANES)


class _Quantized:
    """What the kernels share: outputs of a chunk in tiles, weights as bytes, products."""

    def __init__(self, e: Emit, weights: Weights, dtype: str, width: int) -> None:
        self.e, self.weights, self.dtype, self.wide = e, weights, dtype, WIDE[width]
        self.n, self.k, self.w_row = e.argument(N), e.argument(K), e.argument(W_ROW)
        self.groups = e.b.udiv(self.k, i64(weights.group))
        self.scales = Scales(e, weights.dtype, self.groups, self.wide)
        self.step = min(weights.group, TILE_BYTES)
        self.bytes = e.scratch(self.wide * TILE_ROWS * weights.group)
        self.columns = columns = min(COLUMNS[width], TILE_ROWS) * QUAD
        c, b = (TILE_ROWS, columns), (self.step // QUAD, columns)
        a = (TILE_ROWS, self.step)
        # c0 to c3, a0 and a1, b0 and b1
        self.tiles = Tiles(e, [c, c, c, c, a, a, b, b])

    def emit(self) -> None:
        """The chunk, some tiles of outputs at a time; the last tile may run again over some."""
        e = self.e
        each_tile(e, *e.chunk(e.argument(CHUNK), self.n), self.wide, self.block)
        self.tiles.release()
        e.finish()

    def block(self, output: Value, count: int) -> None:
        """All rows with ``count`` tiles of outputs."""
        raise NotImplementedError

    def ask(self, output: Value, count: int, g: Value) -> None:
        """Have memory bring the weights of `AHEAD` groups on, and scales of the next outputs.

        Those lie one after another: a part of them with each group.
        """
        e, rows = self.e, count * TILE_ROWS
        size = self.weights.group * self.weights.bits // 8
        at = e.mul(g, size)
        ask_ahead(e, e.pointer(W), (output, rows), self.w_row, (at, AHEAD * size))
        size = rows * ITEM_BYTES[self.weights.dtype]
        start = e.add(e.mul(e.add(output, rows), self.scales.row), e.mul(g, size))
        for which in (SCALES, BIASES):
            for line in range(0, size, TILE_BYTES):
                e.prefetch(e.at(e.pointer(which), e.add(start, line)))

    def unpack(self, output: Value, count: int, g: Value) -> None:
        """Packed weights of a group as bytes, if they aren't bytes already: [output][position]."""
        e, bits, group = self.e, self.weights.bits, self.weights.group
        if bits == 8:
            return
        start = e.add(e.mul(output, self.w_row), e.mul(g, group * bits // 8))
        base = e.at(e.pointer(W), start)

        def row(r: Value, _: list[Value]) -> None:
            source, target = e.at(base, e.mul(self.w_row, r)), e.at(self.bytes, e.mul(r, group))
            unpack(e, bits, group, source, target)

        e.loop(0, count * TILE_ROWS, 1, row)

    def load_weights(self, tile: int, output: Value, g: Value, step: int) -> None:
        """One tile of weights as bytes; packed ones were unpacked."""
        e, group = self.e, self.weights.group
        if self.weights.bits == 8:
            line = e.mul(e.add(output, tile * TILE_ROWS), self.w_row)
            place = e.add(line, e.mul(g, group), step * self.step)
            self.tiles.load(4 + tile, e.at(e.pointer(W), place), self.w_row)
        else:
            place = tile * TILE_ROWS * group + step * self.step
            self.tiles.load(4 + tile, e.at(self.bytes, place), group)

    def one_product(self, output: Value, count: int, g: Value, layout: Layout) -> Iterator[None]:
        """A group whose rows and digits are all columns of one tile, into registers 0 and up."""
        tiles = self.tiles
        self.unpack(output, count, g)
        for t in range(count):
            tiles.zero(t)
        for step in range(self.weights.group // self.step):
            tiles.load(6, layout.digits(g, step), self.columns)
            yield
            for t in range(count):
                self.load_weights(t, output, g, step)
                yield
                tiles.add_bytes(t, 4 + t, 6)
                yield


class _OneRow(_Quantized):
    """A row's digits are three columns of one product."""

    def __init__(self, e: Emit, weights: Weights, dtype: str) -> None:
        super().__init__(e, weights, dtype, 1)
        self.layout = Layout(e, e.pointer(X), self.k, weights.group, 1)
        self.sums = [e.scratch(self.wide * TILE_ROWS * DIGITS * 4) for _ in range(2)]

    def block(self, output: Value, count: int) -> None:
        """One group ahead with products: what they store is read when it has arrived."""
        e = self.e
        for t in range(count):
            self.scales.fill(t, e.add(output, t * TILE_ROWS))
        last = e.b.sub(self.groups, i64(1))
        self.product(output, count, i64(0), self.sums[0])

        def group(g: Value, state: list[Value]) -> list[Value]:
            full, free, *totals = state
            self.ask(output, count, g)
            more = e.b.icmp_signed("<", g, last)
            e.when(more, lambda: self.product(output, count, e.add(g, 1), free))
            return [free, full, *self.add(count, g, full, totals)]

        state = [*self.sums, *[e.constant(0.0)] * count]
        _, _, *totals = e.loop(0, self.groups, 1, group, state)
        for t, total in enumerate(totals):
            place = e.mul(e.add(output, t * TILE_ROWS), ITEM_BYTES[self.dtype])
            e.store(total, e.pointer(Y), place, self.dtype)

    def product(self, output: Value, count: int, g: Value, target: Value) -> None:
        """Whole numbers of a group, [output][digit]."""
        for _ in self.one_product(output, count, g, self.layout):
            pass
        for t in range(count):
            self.tiles.store(t, self.e.at(target, t * TILE_ROWS * DIGITS * 4), DIGITS * 4)

    def add(self, count: int, g: Value, source: Value, totals: list[Value]) -> list[Value]:
        """A group's products, scaled, to the sums."""
        e = self.e
        factor = e.splat(e.load_at(self.layout.factors(g), 0, F32))
        share = e.splat(e.load_at(self.layout.sums(g), 0, F32))
        new: list[Value] = []
        for t, total in enumerate(totals):
            base = t * TILE_ROWS * DIGITS * 4
            a, b, c = (e.load_at(source, base + part * 64, _WHOLE) for part in range(3))
            parts: list[Value] = []
            for digit in range(DIGITS):
                places = [i * DIGITS + digit for i in range(LANES)]
                front = e.b.shuffle_vector(a, b, e.integers([min(p, 31) for p in places]))
                back = e.integers([i if p < 32 else LANES + p - 32 for i, p in enumerate(places)])
                parts.append(e.b.shuffle_vector(front, c, back))
            scale = e.load_at(self.scales.address(0, t, g), 0, e.vector)
            bias = e.load_at(self.scales.address(1, t, g), 0, e.vector)
            new.append(_add_group(e, parts, (factor, share), (scale, bias), total))
        return new


class _ManyRows(_Quantized):
    """Tiles of sixteen rows; each digit is a product of its own."""

    def __init__(self, e: Emit, weights: Weights, dtype: str, width: int = TILE_ROWS) -> None:
        super().__init__(e, weights, dtype, width)
        self.rows, self.width = e.argument(ROWS), width
        self.tile = self.wide * TILE_ROWS * TILE_ROWS * 4
        self.sums = [e.scratch(DIGITS * self.tile) for _ in range(2)]
        self.totals = e.scratch(self.tile)
        self.size = Layout(e, e.pointer(X), self.k, weights.group, width).size()

    def block(self, output: Value, count: int) -> None:
        """Tile of rows by tile of rows."""
        e = self.e
        for t in range(count):
            self.scales.fill(t, e.add(output, t * TILE_ROWS))

        def tile(row: Value, _: list[Value]) -> None:
            base = e.at(e.pointer(X), e.mul(e.b.udiv(row, i64(TILE_ROWS)), self.size))
            layout = Layout(e, base, self.k, self.weights.group, self.width)
            self.groups_of(row, output, count, layout)
            self.write(row, output, count)

        e.loop(0, self.rows, TILE_ROWS, tile)

    def groups_of(self, row: Value, output: Value, count: int, layout: Layout) -> None:
        """All groups of a tile; one ahead with products, see `_OneRow`."""
        e = self.e
        for line in range(count * TILE_ROWS):
            e.store_at(e.constant(0.0), self.totals, line * LANES * 4)
        last = e.b.sub(self.groups, i64(1))
        for _ in self.product(output, count, i64(0), layout, self.sums[0]):
            pass

        def group(g: Value, state: list[Value]) -> list[Value]:
            full, free = state
            self.ask(output, count, g)
            # The product after the last is one too many: cheaper than a branch in the middle.
            products = self.product(output, count, e.least(e.add(g, 1), last), layout, free)
            additions = self.add(count, g, full, layout)
            for _ in products:
                # In turns, for tiles and vectors work side by side.
                for _ in islice(additions, SIDE_BY_SIDE[self.width]):
                    pass
            for _ in additions:
                pass
            return [free, full]

        e.loop(0, self.groups, 1, group, self.sums)

    def product(
        self, output: Value, count: int, g: Value, layout: Layout, target: Value
    ) -> Iterator[None]:
        """Whole numbers of a group, [digit][output][row], tile by tile."""
        e, tiles = self.e, self.tiles
        steps = self.weights.group // self.step
        self.unpack(output, count, g)
        if steps == 1:
            for t in range(count):
                self.load_weights(t, output, g, 0)
        for digit in range(DIGITS):
            sums = [(digit * count) % 4 + t for t in range(count)]
            for c in sums:
                tiles.zero(c)
            for step in range(steps):
                b = 6 + digit % 2
                tiles.load(b, layout.digits(g, step, digit), TILE_BYTES)
                for t, c in enumerate(sums):
                    if steps > 1:
                        self.load_weights(t, output, g, step)
                    tiles.add_bytes(c, 4 + t, b)
            for t, c in enumerate(sums):
                place = digit * self.tile + t * TILE_ROWS * TILE_BYTES
                tiles.store(c, e.at(target, place), TILE_BYTES)
                yield

    def add(self, count: int, g: Value, source: Value, layout: Layout) -> Iterator[None]:
        """A group's products, scaled, to the sums, output by output."""
        e = self.e
        factor = e.load_at(layout.factors(g), 0, e.vector)
        share = e.load_at(layout.sums(g), 0, e.vector)
        for t in range(count):
            scales, biases = (self.scales.address(which, t, g) for which in (0, 1))
            for o in range(TILE_ROWS):
                line = (t * TILE_ROWS + o) * LANES * 4
                parts = self.digits(source, line)
                scale, bias = (e.splat(e.load_at(s, o * 4, F32)) for s in (scales, biases))
                total = e.load_at(self.totals, line, e.vector)
                total = _add_group(e, parts, (factor, share), (scale, bias), total)
                e.store_at(total, self.totals, line)
                yield

    def digits(self, source: Value, line: int) -> list[Value]:
        """An output's whole numbers of each digit, by row."""
        e = self.e
        return [e.load_at(source, digit * self.tile + line, _WHOLE) for digit in range(DIGITS)]

    def write(self, row: Value, output: Value, count: int) -> None:
        """Sums, [output][row], as rows of results."""
        e, item = self.e, ITEM_BYTES[self.dtype]
        for t in range(count):
            base = t * TILE_ROWS * LANES * 4
            lines = [
                e.load_at(self.totals, base + o * LANES * 4, e.vector) for o in range(TILE_ROWS)
            ]
            for r, line in enumerate(e.transpose(lines)[: self.width]):
                here = e.add(row, r)
                place = e.mul(e.add(e.mul(here, self.n), output, t * TILE_ROWS), item)
                e.when(
                    e.b.icmp_signed("<", here, self.rows),
                    lambda line=line, place=place: e.store(line, e.pointer(Y), place, self.dtype),
                )


class _FewRows(_ManyRows):
    """The digits of a few rows are columns of one product, where a tile of rows takes three."""

    def __init__(self, e: Emit, weights: Weights, dtype: str) -> None:
        super().__init__(e, weights, dtype, FEW_ROWS)

    def product(
        self, output: Value, count: int, g: Value, layout: Layout, target: Value
    ) -> Iterator[None]:
        """Whole numbers of a group, [output][digit][row]."""
        yield from self.one_product(output, count, g, layout)
        for t in range(count):
            self.tiles.store(t, self.e.at(target, t * TILE_ROWS * TILE_BYTES), TILE_BYTES)
            yield

    def digits(self, source: Value, line: int) -> list[Value]:
        """Those of an output stand side by side; lanes beyond the rows are scaled by 0."""
        e = self.e
        together = e.load_at(source, line, _WHOLE)
        moved = (
            e.integers([(digit * FEW_ROWS + lane) % LANES for lane in range(LANES)])
            for digit in range(1, DIGITS)
        )
        return [together, *(e.b.shuffle_vector(together, together, places) for places in moved)]


def _add_group(
    e: Emit,
    digits: list[Value],
    row: tuple[Value, Value],
    output: tuple[Value, Value],
    total: Value,
) -> Value:
    """``total`` plus scale * row's factor * product + bias * row's sum, of one group."""
    high, middle, low = digits
    lower = e.b.add(e.b.shl(middle, e.integers([8] * LANES)), low)
    whole = e.fma(e.b.sitofp(high, e.vector), e.constant(65536.0), e.b.sitofp(lower, e.vector))
    (factor, share), (scale, bias) = row, output
    total = e.fma(e.b.fmul(whole, factor), scale, total)
    return e.fma(share, bias, total)


def emit_one_row(module: ir.Module, name: str, lanes: int, weights: Weights, dtype: str) -> None:
    """x: one row from `digits_ir.emit_pack`; y: one of ``dtype``."""
    _OneRow(Emit(kernel_function(module, name), lanes), weights, dtype).emit()


def emit_few_rows(module: ir.Module, name: str, lanes: int, weights: Weights, dtype: str) -> None:
    """x: a tile of a few rows from `digits_ir.emit_pack`; y: rows of ``dtype``."""
    _FewRows(Emit(kernel_function(module, name), lanes), weights, dtype).emit()


def emit_many_rows(module: ir.Module, name: str, lanes: int, weights: Weights, dtype: str) -> None:
    """x: tiles of rows from `digits_ir.emit_pack`; y: rows of ``dtype``."""
    _ManyRows(Emit(kernel_function(module, name), lanes), weights, dtype).emit()
