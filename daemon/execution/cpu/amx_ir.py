"""Tile registers (Intel AMX) in IR: eight of 16 rows by 64 bytes, and what multiplies them.

A product takes four neighbouring bytes, or two bfloat16, of each row of A with as many rows of
columns of B. Knows no kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from daemon.execution.cpu.emit import I8, I64, PTR, i64

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.cpu.emit import Emit, Value

TILE_ROWS = 16
TILE_BYTES = 64
"""Of a row."""
TILES = 8
_CONFIG_BYTES = 64
_COLUMNS_AT, _ROWS_AT = 16, 48


class Tiles:
    """The tile registers of one function, from here to `release`."""

    def __init__(self, e: Emit, shapes: list[tuple[int, int]]) -> None:
        """``shapes``: rows and bytes of a row of each register, at most `TILES`."""
        self._e = e
        config = [0] * _CONFIG_BYTES
        config[0] = 1
        for number, (rows, row_bytes) in enumerate(shapes):
            config[_COLUMNS_AT + 2 * number] = row_bytes
            config[_ROWS_AT + number] = rows
        place = e.scratch(_CONFIG_BYTES)
        e.store_at(e.integers(config, I8), place, 0)
        self._call("ldtilecfg", [PTR], [place])

    def load(self, tile: int, base: Value, stride: Value | int) -> None:
        """Rows from memory, ``stride`` bytes apart."""
        self._move("tileloadd64", tile, base, stride)

    def store(self, tile: int, base: Value, stride: Value | int) -> None:
        """Rows to memory."""
        self._move("tilestored64", tile, base, stride)

    def zero(self, tile: int) -> None:
        """All of it."""
        self._call("tilezero", [I8], [I8(tile)])

    def add_bytes(self, c: int, a: int, b: int) -> None:
        """C += A B: A without sign, B signed, C of 32 bits."""
        self._call("tdpbusd", [I8] * 3, [I8(c), I8(a), I8(b)])

    def add_bfloat16(self, c: int, a: int, b: int) -> None:
        """C += A B: C of float32; even and odd places are summed apart, then added to C."""
        self._call("tdpbf16ps", [I8] * 3, [I8(c), I8(a), I8(b)])

    def release(self) -> None:
        """Give the registers back: they would be saved at each change of thread."""
        self._call("tilerelease", [], [])

    def _move(self, name: str, tile: int, base: Value, stride: Value | int) -> None:
        step = i64(stride) if isinstance(stride, int) else stride
        self._call(name, [I8, PTR, I64], [I8(tile), base, step])

    def _call(self, name: str, kinds: list[ir.Type], values: list[Value]) -> None:
        module, full = self._e.function.module, f"llvm.x86.{name}"
        found = module.globals.get(full)
        if found is None:
            found = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), full)
        self._e.b.call(found, values)


def each_tile(
    e: Emit, first: Value, last: Value, wide: int, block: Callable[[Value, int], None]
) -> None:
    """Call ``block`` for the outputs from ``first`` to ``last``, at least a tile in all.

    It gets the first output and a number of tiles: ``wide`` at a time, then one; the very last may
    run again over some.
    """
    step = wide * TILE_ROWS
    whole = e.add(first, e.b.and_(e.b.sub(last, first), i64(-step)))
    e.loop(first, whole, step, lambda o, _: block(o, wide))
    end = e.b.sub(last, i64(TILE_ROWS))
    e.loop(whole, last, TILE_ROWS, lambda o, _: block(e.least(o, end), 1))


def ask_ahead(
    e: Emit,
    base: Value,
    rows: tuple[Value, int],
    row_bytes: Value,
    at: tuple[Value, int],
) -> None:
    """Ask memory for what a block of rows of weights is multiplied with a little later.

    So many rows side by side are more streams than a processor foresees.

    Args:
        e: where.
        base: of all rows, which lie one after another.
        rows: the block's first, and how many.
        row_bytes: of one row.
        at: byte of the rows that is multiplied now, and how many further on to ask for.
    """
    first, count = rows
    there = e.add(*at)
    # Behind the end of a row is the next one, so that the block's last is the next block's first.
    over = e.b.icmp_signed(">=", there, row_bytes)
    first = e.b.select(over, e.add(first, count - 1), first)
    place = e.at(base, e.add(e.mul(first, row_bytes), there))
    for _ in range(count):
        e.prefetch(place)
        place = e.at(place, row_bytes)
