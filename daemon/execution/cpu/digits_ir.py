"""Rows as whole numbers: three digits of base 256, and a power of two for each group.

Products with packed weights are then exact in integers, whatever multiplies them in whatever order.
Of a group's largest number, 23 bits are kept: a bfloat16 or float16 is exact unless it is some
thousand times smaller than its group's largest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.amx_ir import TILE_BYTES, TILE_ROWS
from daemon.execution.cpu.emit import F32, I8, I32, ITEM_BYTES, Emit, i64, kernel_function

if TYPE_CHECKING:
    from daemon.execution.cpu.emit import Value

DIGITS = 3
FEW_ROWS = 5
"""So many rows with all their digits are columns of one product."""
LANES = 16
QUAD = 4
"""Neighbouring bytes of a row that one 32-bit product takes."""
_EXPONENT = 0x7F800000
_ROUND_UP = 0x00020000
"""A largest number of 1.984 times a power of two or more counts as the next power's."""
_LEAST = 23 << 23
"""Exponents are at least this: smaller numbers become 0."""
_INVERSE = (127 + 22 + 127) << 23
_FACTOR = 22 << 23
_NAN = 0x7FC00000

# Argument block of pack: source, target, rows, depth, row bytes of the source
SOURCE, TARGET, ROWS, DEPTH, STRIDE = range(5)


COLUMNS = {1: DIGITS, FEW_ROWS: LANES, TILE_ROWS: DIGITS * TILE_ROWS}
"""Bytes of a position, by the rows of a tile: 1, a few, or all that a register has."""


def group_bytes(width: int) -> int:
    """A factor and a sum of each row; with several rows they are a vector, whatever there are."""
    return 8 * _lines(width)


def _lines(width: int) -> int:
    return LANES if width > 1 else 1


class Layout:
    """Where `emit_pack` puts what of a tile of ``width`` rows; see `COLUMNS` for the widths."""

    def __init__(self, e: Emit, base: Value, depth: Value, group: int, width: int) -> None:
        self._e, self._base, self._width = e, base, width
        self.step = min(group, TILE_BYTES)
        """Depth of one product of tiles."""
        self._group = group
        self._digits = e.mul(depth, COLUMNS[width])
        self._sums = e.mul(e.b.udiv(depth, i64(group)), 4 * _lines(width))

    def size(self) -> Value:
        """Bytes of a tile."""
        return self._e.add(self._digits, self._sums, self._sums)

    def digits(self, g: Value, step: int = 0, digit: int = 0) -> Value:
        """Address of [quad][row] of a digit (a whole tile), else of [quad][digit][row]."""
        e, width = self._e, self._width
        place = e.mul(e.add(e.mul(g, self._group), step * self.step), COLUMNS[width])
        return e.at(self._base, e.add(place, digit * width * self.step))

    def factors(self, g: Value) -> Value:
        """Address of the powers of two of a group, [row]."""
        e = self._e
        return e.at(self._base, e.add(self._digits, e.mul(g, 4 * _lines(self._width))))

    def sums(self, g: Value) -> Value:
        """Address of the sums of a group's numbers, [row]."""
        return self._e.at(self.factors(g), self._sums)


def emit_pack(module: ir.Module, name: str, lanes: int, dtype: str, group: int, width: int) -> None:
    """Rows of ``dtype`` to `Layout`; a chunk is a tile of ``width`` rows."""
    e = Emit(kernel_function(module, name), lanes)
    _Pack(e, dtype, group, width).emit()
    e.finish()


class _Pack:
    def __init__(self, e: Emit, dtype: str, group: int, width: int) -> None:
        self.e, self.dtype, self.group, self.width = e, dtype, group, width
        self.depth, self.stride = e.argument(DEPTH), e.argument(STRIDE)
        self.first = e.mul(e.function.args[1], width)
        self.height = e.least(e.b.sub(e.argument(ROWS), self.first), i64(width))
        target = e.pointer(TARGET)
        size = Layout(e, target, self.depth, group, width).size()
        base = e.at(target, e.mul(e.function.args[1], size))
        self.layout = Layout(e, base, self.depth, group, width)
        self.bytes = e.scratch(DIGITS * TILE_ROWS * group)

    def emit(self) -> None:
        """All groups of all rows, then their order."""
        e = self.e

        def each(g: Value, _: list[Value]) -> None:
            if self.width > 1:
                self.absent(g)
            e.loop(0, self.height, 1, lambda row, _: self.row(g, row))
            for step in range(0, self.group, self.layout.step):
                self.order(g, step)

        e.loop(0, e.b.udiv(self.depth, i64(self.group)), 1, each)

    def absent(self, g: Value) -> None:
        """Rows that are not there are 0: what lies in memory may be numbers that are slow to add.

        Their digits don't matter then. Those that are there are written over it.
        """
        for place in (self.layout.factors(g), self.layout.sums(g)):
            self.e.store_at(self.e.constant(0.0), place, 0)

    def row(self, g: Value, row: Value) -> None:
        """Digits of one group to scratch, [digit][row][position]; its factor and sum."""
        e, item = self.e, ITEM_BYTES[self.dtype]
        source = e.at(e.pointer(SOURCE), e.mul(e.add(self.first, row), self.stride))
        places = range(0, self.group, LANES)
        values = [
            e.load(source, e.mul(e.add(e.mul(g, self.group), at), item), self.dtype)
            for at in places
        ]
        inverse, factor = self.scale(values)
        total = e.integers([0] * LANES)
        for at, value in zip(places, values, strict=True):
            whole = e.call("rint", e.b.fmul(value, e.splat(inverse)))
            number = e.b.fptosi(whole, ir.VectorType(I32, LANES))
            total = e.b.add(total, number)
            for digit in reversed(range(DIGITS)):
                low = e.b.trunc(number, ir.VectorType(I8, LANES))
                place = e.add(e.mul(row, self.group), digit * TILE_ROWS * self.group + at)
                e.store_at(low, self.bytes, place)
                rest = e.b.sub(number, e.b.sext(low, ir.VectorType(I32, LANES)))
                number = e.b.ashr(rest, e.integers([8] * LANES))
        whole = e.b.sitofp(e.fold(total, e.b.add), F32)
        at = e.mul(row, 4)
        e.store_at(factor, self.layout.factors(g), at)
        e.store_at(e.b.fmul(whole, factor), self.layout.sums(g), at)

    def scale(self, values: list[Value]) -> tuple[Value, Value]:
        """What to multiply a group's numbers by, and the inverse (no number if one is none)."""
        e = self.e
        size = e.integers([0x7FFFFFFF] * LANES)

        def larger(a: Value, b: Value) -> Value:
            return e.b.select(e.b.icmp_signed(">", a, b), a, b)

        most = e.integers([0] * LANES)
        for value in values:
            most = larger(most, e.b.and_(e.b.bitcast(value, size.type), size))
        top = e.fold(most, larger)
        finite = e.b.icmp_signed("<", top, I32(_EXPONENT))
        exponent = e.b.and_(e.b.add(top, I32(_ROUND_UP)), I32(_EXPONENT))
        exponent = larger(exponent, I32(_LEAST))
        inverse = e.b.bitcast(e.b.sub(I32(_INVERSE), exponent), F32)
        factor = e.b.select(finite, e.b.sub(exponent, I32(_FACTOR)), I32(_NAN))
        return inverse, e.b.bitcast(factor, F32)

    def order(self, g: Value, at: int) -> None:
        """Scratch to the order in which tiles are loaded."""
        e, step, quads = self.e, self.layout.step, self.layout.step // QUAD
        number = at // step
        kind = ir.VectorType(I32, quads)
        if self.width == 1:
            for digit in range(DIGITS):
                line = e.load_at(self.bytes, digit * TILE_ROWS * self.group + at, kind)
                target = self.layout.digits(g, number)
                for quad in range(quads):
                    one = e.b.extract_element(line, I32(quad))
                    e.store_at(one, target, (quad * DIGITS + digit) * QUAD)
            return
        columns = [(digit, row) for digit in range(DIGITS) for row in range(self.width)]
        # What is left of a tile is no row's, and may be anything.
        columns += columns[:1] * (-len(columns) % TILE_ROWS)
        for tile in range(len(columns) // TILE_ROWS):
            rows = [
                e.load_at(self.bytes, (digit * TILE_ROWS + row) * self.group + at, kind)
                for digit, row in columns[tile * TILE_ROWS :][:TILE_ROWS]
            ]
            if quads < TILE_ROWS:
                spread = e.integers(range(TILE_ROWS))
                rows = [e.b.shuffle_vector(row, row, spread) for row in rows]
            target = self.layout.digits(g, number, tile)
            for quad, column in enumerate(e.transpose(rows)[:quads]):
                e.store_at(column, target, quad * TILE_BYTES)
