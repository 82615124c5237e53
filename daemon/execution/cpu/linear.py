"""A linear layer over packed or plain weights, where MLX left them in memory. Engine thread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from daemon.execution.cpu import linear_ir as ir
from daemon.execution.cpu.arrays import DTYPES, View, contiguous
from daemon.execution.cpu.emit import ITEM_BYTES
from daemon.execution.cpu.runtime import Arguments

if TYPE_CHECKING:
    import mlx.core as mx

    from daemon.execution.cpu.runtime import Runtime

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)


class LinearKernel:
    """y = x @ w.T for one layer; bias is the caller's business."""

    def __init__(self, runtime: Runtime, weights: ir.Weights, arrays: list[mx.array]) -> None:
        """Prepare for ``arrays``: packed weights, scales and biases, or plain weights."""
        self._runtime = runtime
        self._views = [View(array) for array in arrays]
        self._dtype = weights.dtype
        self.outputs = arrays[0].shape[0]
        bits = weights.bits or 8 * ITEM_BYTES[weights.dtype]
        self.depth = arrays[0].shape[1] * arrays[0].itemsize * 8 // bits
        places = [view.address for view in self._views] + [0, 0]
        self._arguments = Arguments(
            0, 0, *places[:3], self.outputs, self.depth, ir.PANEL_OUTPUTS, 1, self.depth * bits // 8
        )
        name = f"{weights.name}_{self._dtype}"
        self._one = runtime.kernel(f"one_{name}", ir.emit_one_row, weights, self._dtype)
        self._many = runtime.kernel(f"many_{name}", ir.emit_many_rows, weights, self._dtype)
        self._pack = runtime.kernel(f"pack_{self._dtype}", ir.emit_pack, self._dtype)
        self._chunks = -(-self.outputs // ir.PANEL_OUTPUTS)

    def accepts(self, x: mx.array) -> bool:
        """Whether ``x`` is of the dtype this was built for."""
        return DTYPES.get(x.dtype) == self._dtype and x.shape[-1] == self.depth and x.size > 0

    def __call__(self, x: mx.array) -> mx.array:
        """(..., depth) -> (..., outputs).

        Raises:
            RuntimeError: ``x`` can't be evaluated now.
        """
        *outer, depth = x.shape
        rows = math.prod(outer)
        output, item = self._runtime.output, ITEM_BYTES[self._dtype]
        target = output.reserve(rows * self.outputs * item)
        with contiguous(x) as view:
            for first in range(0, rows, ir.MOST_ROWS):
                self._multiply(
                    view.address + first * depth * item,
                    target + first * self.outputs * item,
                    min(ir.MOST_ROWS, rows - first),
                )
        return output.array((*outer, self.outputs), self._dtype)

    def _multiply(self, source: int, target: int, rows: int) -> None:
        runtime, words = self._runtime, self._arguments.words
        work = rows * self.outputs * self.depth
        kernel = self._many if rows > 1 else self._one
        # Even one row is widened once here: each output would widen it again, and the kernel for
        # one row is bound by instructions, not by memory.
        words[ir.X], words[ir.Y], words[ir.ROWS] = self._packed(source, rows), target, rows
        runtime.run(kernel, self._arguments, self._chunks, work)

    def _packed(self, source: int, rows: int) -> int:
        runtime = self._runtime
        place = runtime.rows.reserve(rows * self.depth * 4)
        stride = self.depth * ITEM_BYTES[self._dtype]
        block = Arguments(source, place, rows, self.depth, stride)
        tiles = -(-rows // ir.tile_rows(runtime.lanes))
        runtime.run(self._pack, block, tiles, rows * self.depth)
        return place


def quantized(
    runtime: Runtime, arrays: list[mx.array], bits: int, group: int
) -> LinearKernel | None:
    """A kernel for affine weights, scales and biases; None: not covered."""
    dtype = DTYPES.get(arrays[1].dtype)
    depth = arrays[0].shape[-1] * 32 // bits
    known = bits in BITS and group in GROUPS and dtype is not None and depth % group == 0
    if dtype is None or not known:
        return None
    return LinearKernel(runtime, ir.Weights(dtype, bits, group), arrays)


def plain(runtime: Runtime, weight: mx.array) -> LinearKernel | None:
    """A kernel for weights (outputs, depth); None: not covered."""
    dtype = DTYPES.get(weight.dtype)
    if dtype is None or weight.shape[-1] % runtime.lanes:
        return None
    return LinearKernel(runtime, ir.Weights(dtype), [weight])
