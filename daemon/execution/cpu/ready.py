"""Rows in the form in which a kernel multiplies them, made once for all layers that take them.

What a model hands to several layers, as to q, k and v, is made ready by the first. Engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.execution.cpu import digits_ir, linear_ir
from daemon.execution.cpu.arrays import Arguments, Output
from daemon.execution.cpu.emit import ITEM_BYTES

if TYPE_CHECKING:
    import mlx.core as mx

    from daemon.execution.cpu.arrays import View
    from daemon.execution.cpu.runtime import Runtime


@dataclass(frozen=True)
class Form:
    """Rows of ``dtype`` as float32, or as digits in groups of ``group``."""

    dtype: str
    group: int = 0

    def tile_rows(self, rows: int, lanes: int) -> int:
        """Rows of a tile."""
        if not self.group:
            return linear_ir.tile_rows(lanes)
        return 1 if rows == 1 else digits_ir.TILE_ROWS

    def row_bytes(self, depth: int) -> int:
        """Of a row that is ready."""
        return digits_ir.row_bytes(depth, self.group) if self.group else 4 * depth

    def kernel(self, runtime: Runtime, rows: int) -> int:
        """What makes rows ready, tile by tile."""
        if not self.group:
            return runtime.kernel(f"pack_{self.dtype}", linear_ir.emit_pack, self.dtype)
        tile = self.tile_rows(rows, runtime.lanes)
        name = f"digits_{self.dtype}_g{self.group}_{tile}"
        return runtime.kernel(name, digits_ir.emit_pack, self.dtype, self.group, tile)


class Ready:
    """The latest rows that were made ready."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._memory = Output()
        self._held: mx.array | None = None
        self._key: tuple[object, ...] = ()
        self._place = 0

    def address(self, view: View, rows: int, depth: int, form: Form) -> int:
        """Where ``rows`` of ``view``, which has no gaps, are ready."""
        key = (view.address, rows, depth, form)
        if key != self._key:
            self._place = self._make(view, rows, depth, form)
            # While we hold them MLX puts nothing else in their place: an address tells them.
            self._key, self._held = key, view.hold()
        return self._place

    def _make(self, view: View, rows: int, depth: int, form: Form) -> int:
        runtime = self._runtime
        tile = form.tile_rows(rows, runtime.lanes)
        tiles = -(-rows // tile)
        place = self._memory.reserve(tiles * tile * form.row_bytes(depth))
        stride = depth * ITEM_BYTES[form.dtype]
        block = Arguments(view.address, place, rows, depth, stride)
        runtime.run(form.kernel(runtime, rows), block, tiles, rows * depth)
        return place
