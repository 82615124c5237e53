"""Packed weights as bytes, which is what tile registers multiply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.amx_ir import TILE_BYTES
from daemon.execution.cpu.emit import I8, I16, I64, i64

if TYPE_CHECKING:
    from daemon.execution.cpu.emit import Emit, Value


def unpack(e: Emit, bits: int, group: int, source: Value, target: Value) -> None:
    """A group of one row, of fewer than eight bits each."""
    if bits == 4:
        _nibbles(e, group, source, target)
        return
    # Eight numbers of odd width are a whole number of bytes, lowest bits first.
    fields = i64(int.from_bytes(bytes([(1 << bits) - 1] * 8), "little"))
    for part in range(group // 8):
        packed = e.b.zext(e.load_at(source, part * bits, ir.IntType(8 * bits)), I64)
        e.store_at(e.deposit(packed, fields), target, part * 8)


def _nibbles(e: Emit, group: int, source: Value, target: Value) -> None:
    step = min(group, TILE_BYTES)
    kind = ir.VectorType(I16, step // 2)
    for at in range(0, group, step):
        packed = e.load_at(source, at // 2, ir.VectorType(I8, step // 2))
        pairs = e.b.zext(packed, kind)
        spread = e.b.or_(pairs, e.b.shl(pairs, e.splat_constant(kind, 4)))
        e.store_at(e.b.and_(spread, e.splat_constant(kind, 0x0F0F)), target, at)
