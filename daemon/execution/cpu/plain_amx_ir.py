"""A linear layer of bfloat16 weights on tile registers.

A product adds 32 positions to an output: even and odd ones are summed apart, then added to what is
there. That is one order for every row and output, whoever else is in the tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.amx_ir import TILE_BYTES, TILE_ROWS, Tiles, ask_ahead, each_tile
from daemon.execution.cpu.emit import I32, Emit, i64, kernel_function
from daemon.execution.cpu.linear_ir import (
    CHUNK,
    PACK_K,
    PACK_ROWS,
    PACK_SOURCE,
    PACK_STRIDE,
    PACK_TARGET,
    ROWS,
    W_ROW,
    K,
    N,
    W,
    X,
    Y,
)

if TYPE_CHECKING:
    from daemon.execution.cpu.emit import Value

STEP = 32
"""Positions of one product."""
AHEAD = 8 * STEP
"""Positions between asking for weights and multiplying with them: longer than memory takes."""
LANES = 16
ITEM = 2
CHUNK_OUTPUTS = 64
MOST_ROWS = 96
WIDE = 2
"""Tiles of outputs, and of rows, side by side."""


class _Plain:
    """What the two kernels share: outputs of a chunk in tiles."""

    def __init__(self, e: Emit, columns: int) -> None:
        self.e, self.n, self.k = e, e.argument(N), e.argument(K)
        self.w_row = e.argument(W_ROW)
        c, b = (TILE_ROWS, columns * 4), (STEP // 2, columns * 4)
        a = (TILE_ROWS, TILE_BYTES)
        # c0 to c3, a0 and a1, b0 and b1
        self.tiles = Tiles(e, [c, c, c, c, a, a, b, b])

    def emit(self) -> None:
        """The chunk; the last tile may run again over some outputs."""
        e = self.e
        each_tile(e, *e.chunk(e.argument(CHUNK), self.n), WIDE, self.block)
        self.tiles.release()
        e.finish()

    def block(self, output: Value, count: int) -> None:
        """All rows with ``count`` tiles of outputs."""
        raise NotImplementedError

    def sum_up(self, output: Value, count: int, rows: list[Value], row_step: int) -> None:
        """Tiles c of ``count`` tiles of outputs by those of ``rows``, over the whole depth."""
        e, tiles = self.e, self.tiles
        for c in range(count * len(rows)):
            tiles.zero(c)

        def step(at: Value, _: list[Value]) -> None:
            block = output, count * TILE_ROWS
            ask_ahead(e, e.pointer(W), block, self.w_row, (e.mul(at, ITEM), AHEAD * ITEM))
            for r, row in enumerate(rows):
                tiles.load(6 + r, e.at(row, e.mul(at, row_step)), row_step * STEP // TILE_ROWS)
            for t in range(count):
                line = e.mul(e.add(output, t * TILE_ROWS), self.w_row)
                place = e.at(e.pointer(W), e.add(line, e.mul(at, ITEM)))
                tiles.load(4 + t, place, self.w_row)
                for r in range(len(rows)):
                    tiles.add_bfloat16(t * len(rows) + r, 4 + t, 6 + r)

        e.loop(0, self.k, STEP, step)


class _OneRow(_Plain):
    """The row is a column: its pairs lie in memory as a tile has them."""

    def __init__(self, e: Emit) -> None:
        super().__init__(e, 1)
        self.sums = e.scratch(TILE_ROWS * 4)

    def block(self, output: Value, count: int) -> None:
        """Sums of the row."""
        e = self.e
        self.sum_up(output, count, [e.pointer(X)], ITEM)
        for t in range(count):
            self.tiles.store(t, self.sums, 4)
            place = e.mul(e.add(output, t * TILE_ROWS), ITEM)
            e.store(e.load_at(self.sums, 0, e.vector), e.pointer(Y), place, "bfloat16")


class _ManyRows(_Plain):
    """Tiles of sixteen rows, two at a time."""

    def __init__(self, e: Emit) -> None:
        super().__init__(e, TILE_ROWS)
        self.rows = e.argument(ROWS)
        self.sums = e.scratch(TILE_ROWS * TILE_BYTES)

    def block(self, output: Value, count: int) -> None:
        """Tile of rows by tile of rows."""
        e, pair = self.e, WIDE * TILE_ROWS
        tail = e.b.srem(e.b.sub(self.rows, i64(1)), i64(pair))
        single = e.b.icmp_signed("<", tail, i64(TILE_ROWS))
        whole = e.b.sub(self.rows, e.add(tail, 1))
        whole = e.b.select(single, whole, e.add(whole, pair))
        e.loop(0, whole, pair, lambda row, _: self.tile(output, count, row, WIDE))
        e.when(single, lambda: self.tile(output, count, whole, 1))

    def tile(self, output: Value, count: int, row: Value, height: int) -> None:
        """``height`` tiles of rows."""
        e = self.e
        starts = [e.add(row, r * TILE_ROWS) for r in range(height)]
        rows = [e.at(e.pointer(X), e.mul(start, self.k, ITEM)) for start in starts]
        self.sum_up(output, count, rows, ITEM * TILE_ROWS)
        for t in range(count):
            for r, start in enumerate(starts):
                self.tiles.store(t * height + r, self.sums, TILE_BYTES)
                self.write(e.add(output, t * TILE_ROWS), start)

    def write(self, output: Value, row: Value) -> None:
        """Sums, [output][row], as rows of results."""
        e = self.e
        lines = [e.load_at(self.sums, o * TILE_BYTES, e.vector) for o in range(TILE_ROWS)]
        for r, line in enumerate(e.transpose(lines)):
            here = e.add(row, r)
            place = e.mul(e.add(e.mul(here, self.n), output), ITEM)
            e.when(
                e.b.icmp_signed("<", here, self.rows),
                lambda line=line, place=place: e.store(line, e.pointer(Y), place, "bfloat16"),
            )


def emit_one_row(module: ir.Module, name: str, lanes: int) -> None:
    """x: one row of bfloat16; y: one."""
    _OneRow(Emit(kernel_function(module, name), lanes)).emit()


def emit_many_rows(module: ir.Module, name: str, lanes: int) -> None:
    """x: tiles of rows from `emit_pack`; y: rows."""
    _ManyRows(Emit(kernel_function(module, name), lanes)).emit()


def emit_pack(module: ir.Module, name: str, lanes: int) -> None:
    """Rows of bfloat16 to tiles, [pair of positions][row]; a chunk is a tile of rows."""
    e = Emit(kernel_function(module, name), lanes)
    source, target = e.pointer(PACK_SOURCE), e.pointer(PACK_TARGET)
    depth, stride = e.argument(PACK_K), e.argument(PACK_STRIDE)
    first = e.mul(e.function.args[1], TILE_ROWS)
    last = e.b.sub(e.argument(PACK_ROWS), i64(1))
    base = e.at(target, e.mul(first, depth, ITEM))
    # Rows that are not there are the last one again.
    lines = [e.at(source, e.mul(e.least(e.add(first, r), last), stride)) for r in range(TILE_ROWS)]
    kind = ir.VectorType(I32, LANES)

    def step(at: Value, _: list[Value]) -> None:
        place = e.mul(at, ITEM)
        columns = e.transpose([e.load_at(line, place, kind) for line in lines])
        for pair, column in enumerate(columns):
            e.store_at(column, base, e.add(e.mul(at, ITEM * TILE_ROWS), pair * TILE_BYTES))

    e.loop(0, depth, STEP, step)
    e.finish()
