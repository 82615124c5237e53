"""Rows in the form in which a kernel multiplies them, made once for all layers that take them.

What a model hands to several layers, as to q, k and v, is made ready by the first. Engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.execution.cpu import digits_ir, linear_ir, plain_amx_ir
from daemon.execution.cpu.amx_ir import TILE_ROWS
from daemon.execution.cpu.arrays import Arguments, Job, Output
from daemon.execution.cpu.emit import ITEM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlx.core as mx

    from daemon.execution.cpu.arrays import View
    from daemon.execution.cpu.runtime import Runtime


@dataclass(frozen=True)
class Form:
    """What rows become."""

    name: str
    dtype: str
    """Of the rows that a model has."""
    tile_rows: int
    """Rows that are made ready together."""
    position_bytes: int
    """Of one position of a tile."""
    emit: Callable[..., None] | None
    """Writes the kernel; None: rows are used as they are."""
    details: tuple[Any, ...] = ()
    group: int = 0
    """Positions of a group of weights, if what is ready has something beside each."""

    def size(self, rows: int, depth: int) -> int:
        """Bytes of rows that are ready: whole tiles."""
        beside = depth // self.group * digits_ir.group_bytes(self.tile_rows) if self.group else 0
        return -(-rows // self.tile_rows) * (depth * self.position_bytes + beside)

    def job(self, runtime: Runtime, source: int, target: int, rows: int, depth: int) -> Job:
        """The call that makes rows ready."""
        stride = depth * ITEM_BYTES[self.dtype]
        block = Arguments(source, target, rows, depth, stride)
        return Job(self.kernel(runtime), block, -(-rows // self.tile_rows), rows * depth)

    def kernel(self, runtime: Runtime) -> int:
        """What makes rows ready, tile by tile; 0: nothing."""
        return runtime.kernel(self.name, self.emit, *self.details) if self.emit else 0


def floats(dtype: str, lanes: int) -> Form:
    """For vector kernels."""
    rows = linear_ir.tile_rows(lanes)
    return Form(f"pack_{dtype}", dtype, rows, 4 * rows, linear_ir.emit_pack, (dtype,))


def digits(dtype: str, group: int, tile_rows: int) -> Form:
    """For packed weights on tile registers."""
    name, details = f"digits_{dtype}_g{group}_{tile_rows}", (dtype, group, tile_rows)
    columns = digits_ir.COLUMNS[tile_rows]
    return Form(name, dtype, tile_rows, columns, digits_ir.emit_pack, details, group)


def pairs(tile_rows: int) -> Form:
    """For bfloat16 weights on tile registers; a single row is in order as it is."""
    emit = plain_amx_ir.emit_pack if tile_rows == TILE_ROWS else None
    return Form(f"pairs_{tile_rows}", "bfloat16", tile_rows, 2 * tile_rows, emit)


class Ready:
    """The latest rows that were made ready."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._memory = Output()
        self._held: mx.array | None = None
        self._key: tuple[object, ...] = ()
        self._place = 0

    def address(self, view: View, rows: int, depth: int, form: Form) -> int:
        """Where ``rows`` of ``view``, which has no gaps, are ready while the view is open."""
        if form.emit is None:
            return view.address
        key = (view.address, rows, depth, form)
        if key != self._key:
            self._place = self._make(view, rows, depth, form)
            # While we hold them MLX puts nothing else in their place: an address tells them.
            self._key, self._held = key, view.hold()
        return self._place

    def _make(self, view: View, rows: int, depth: int, form: Form) -> int:
        place = self._memory.reserve(form.size(rows, depth))
        self._runtime.run(*form.job(self._runtime, view.address, place, rows, depth))
        return place
