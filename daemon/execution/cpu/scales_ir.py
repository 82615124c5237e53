"""Scales and biases of packed weights in the order in which tiles of outputs need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.amx_ir import TILE_BYTES, TILE_ROWS
from daemon.execution.cpu.digits_ir import LANES
from daemon.execution.cpu.emit import I16, I32, I64, ITEM_BYTES, PTR, Emit, i64
from daemon.execution.cpu.linear_ir import BIASES, SCALES

if TYPE_CHECKING:
    from daemon.execution.cpu.emit import Value

_MASK = ir.VectorType(ir.IntType(1), 2 * LANES)
_HALVES = ir.VectorType(I16, 2 * LANES)
_WHOLE = ir.VectorType(I32, LANES)


class Scales:
    """Scales and biases of some tiles of outputs as float32, [tile][group][output]."""

    def __init__(self, e: Emit, dtype: str, groups: Value, tiles: int) -> None:
        self.e, self.row = e, e.mul(groups, ITEM_BYTES[dtype])
        blocks = e.b.udiv(e.add(self.row, TILE_BYTES - 1), i64(TILE_BYTES))
        # A block is a 32-bit word of each lane: one group or two.
        self.line = e.mul(blocks, TILE_BYTES // ITEM_BYTES[dtype] * LANES * 4)
        self.places = [e.scratch(e.mul(self.line, tiles)) for _ in range(2)]
        kind = ir.FunctionType(ir.VoidType(), [PTR, PTR, I64])
        self.turn = ir.Function(e.function.module, kind, "turn")
        self.turn.linkage = "internal"
        self.turn.attributes.add("noinline")
        _emit_turn(Emit(self.turn, e.lanes), dtype)

    def fill(self, tile: int, output: Value) -> None:
        """From where MLX keeps them, [output][group]."""
        e = self.e
        for argument, place in zip((SCALES, BIASES), self.places, strict=True):
            source = e.at(e.pointer(argument), e.mul(output, self.row))
            target = e.at(place, e.mul(self.line, tile))
            e.b.call(self.turn, [source, target, self.row])

    def address(self, which: int, tile: int, g: Value) -> Value:
        """Scales (0) or biases (1) of a group, [output]."""
        e = self.e
        return e.at(self.places[which], e.add(e.mul(self.line, tile), e.mul(g, LANES * 4)))


def _emit_turn(e: Emit, dtype: str) -> None:
    """A function (source, target, row bytes): rows of 16 outputs to float32, [group][output]."""
    source, target, row = e.function.args
    size = TILE_BYTES // ITEM_BYTES[dtype] * LANES * 4

    def block(at: Value, _: list[Value]) -> None:
        left = e.b.sub(row, at)
        lines = [e.at(source, e.add(e.mul(row, r), at)) for r in range(TILE_ROWS)]
        words = e.transpose([_part(e, line, left) for line in lines])
        base = e.at(target, e.mul(e.b.udiv(at, i64(TILE_BYTES)), size))
        values = [value for word in words for value in _wide(e, word, dtype)]
        for index, value in enumerate(values):
            e.store_at(value, base, index * LANES * 4)

    e.loop(0, row, TILE_BYTES, block)
    e.finish()


def _part(e: Emit, place: Value, left: Value) -> Value:
    """64 bytes, or what is left of a row."""
    numbers = e.integers(range(2 * LANES), I16)
    count = e.b.trunc(e.b.udiv(e.least(left, i64(TILE_BYTES)), i64(2)), I16)
    mask = e.b.icmp_unsigned("<", numbers, e.splat(count, 2 * LANES))
    name = "llvm.masked.load.v32i16.p0"
    found = e.function.module.globals.get(name)
    if found is None:
        kind = ir.FunctionType(_HALVES, [PTR, I32, _MASK, _HALVES])
        found = ir.Function(e.function.module, kind, name)
    none = ir.Constant(_HALVES, [0] * (2 * LANES))
    return e.b.bitcast(e.b.call(found, [place, I32(1), mask, none]), _WHOLE)


def _wide(e: Emit, word: Value, dtype: str) -> list[Value]:
    """The one or two numbers in each 32-bit word as float32."""
    if dtype == "float32":
        return [e.b.bitcast(word, e.vector)]
    sixteen = e.integers([16] * LANES)
    if dtype == "bfloat16":
        high = e.b.and_(word, e.integers([0xFFFF0000] * LANES))
        return [e.b.bitcast(part, e.vector) for part in (e.b.shl(word, sixteen), high)]
    narrow, half = ir.VectorType(I16, LANES), ir.VectorType(ir.HalfType(), LANES)
    parts = (e.b.trunc(part, narrow) for part in (word, e.b.lshr(word, sixteen)))
    return [e.b.fpext(e.b.bitcast(part, half), e.vector) for part in parts]
