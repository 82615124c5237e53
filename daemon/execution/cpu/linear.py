"""A linear layer over packed or plain weights, where MLX left them in memory. Engine thread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.execution.cpu import linear_amx_ir as tiles
from daemon.execution.cpu import linear_ir as ir
from daemon.execution.cpu import plain_amx_ir as plain_tiles
from daemon.execution.cpu.amx_ir import TILE_ROWS
from daemon.execution.cpu.arrays import DTYPES, Arguments, Job, View, contiguous
from daemon.execution.cpu.digits_ir import FEW_ROWS
from daemon.execution.cpu.emit import ITEM_BYTES
from daemon.execution.cpu.ready import Form, digits, floats, pairs

if TYPE_CHECKING:
    import mlx.core as mx

    from daemon.execution.cpu.runtime import Runtime

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)
MOST_ROWS = min(ir.MOST_ROWS, tiles.MOST_ROWS, plain_tiles.MOST_ROWS)
"""Of one call, whichever kernel runs."""


@dataclass(frozen=True)
class Way:
    """How rows are multiplied with weights."""

    kernels: tuple[tuple[int, Form, int], ...]
    """Up to how many rows, their form, and what multiplies them; fewest rows first."""
    chunk: int
    """Outputs of a call."""
    most_rows: int

    def of(self, rows: int) -> tuple[Form, int]:
        """Form and kernel of so many rows."""
        _, form, kernel = next((k for k in self.kernels if rows <= k[0]), self.kernels[-1])
        return form, kernel


class LinearKernel:
    """y = x @ w.T for one layer; bias is the caller's business."""

    def __init__(self, runtime: Runtime, weights: ir.Weights, arrays: list[mx.array]) -> None:
        """Prepare for ``arrays`` without gaps: packed weights, scales, biases, or plain weights."""
        self._runtime = runtime
        self._views = [View(array) for array in arrays]
        self.dtype = weights.dtype
        self.outputs = arrays[0].shape[0]
        bits = weights.bits or 8 * ITEM_BYTES[weights.dtype]
        self.depth = arrays[0].shape[1] * arrays[0].itemsize * 8 // bits
        self._way = way = way_of(runtime, weights, self.outputs, self.depth)
        places = [view.address for view in self._views] + [0, 0]
        self._arguments = Arguments(
            0, 0, *places[:3], self.outputs, self.depth, way.chunk, 1, self.depth * bits // 8
        )
        self._chunks = -(-self.outputs // way.chunk)

    def form(self, rows: int) -> Form:
        """What so many rows must become."""
        return self._way.of(rows)[0]

    def job(self, source: int, target: int, rows: int) -> Job:
        """The call for at most `MOST_ROWS` rows that are ready at ``source``."""
        _, kernel = self._way.of(rows)
        arguments = Arguments(*self._arguments.words)
        words = arguments.words
        words[ir.X], words[ir.Y], words[ir.ROWS] = source, target, rows
        return Job(kernel, arguments, self._chunks, rows * self.outputs * self.depth)

    def accepts(self, x: mx.array) -> bool:
        """Whether ``x`` is of the dtype this was built for."""
        return DTYPES.get(x.dtype) == self.dtype and x.shape[-1] == self.depth and x.size > 0

    def __call__(self, x: mx.array) -> mx.array:
        """(..., depth) -> (..., outputs).

        Raises:
            NotEvaluated: ``x`` can't be evaluated now.
        """
        *outer, depth = x.shape
        rows = math.prod(outer)
        runtime, way, words = self._runtime, self._way, self._arguments.words
        form, kernel = way.of(rows)
        output, row_bytes = runtime.output, self.outputs * ITEM_BYTES[self.dtype]
        target = output.reserve(rows * row_bytes)
        # Even one row is made ready once here: each output would widen it again, and kernels for
        # one row are bound by instructions as well as by memory.
        with contiguous(x) as view:
            source = runtime.ready.address(view, rows, depth, form)
            for first in range(0, rows, way.most_rows):
                here = min(way.most_rows, rows - first)
                words[ir.X] = source + form.size(first, depth)
                words[ir.Y], words[ir.ROWS] = target + first * row_bytes, here
                work = here * self.outputs * depth
                runtime.run(kernel, self._arguments, self._chunks, work)
        return output.array((*outer, self.outputs), self.dtype)


def way_of(runtime: Runtime, weights: ir.Weights, outputs: int, depth: int) -> Way:
    """Tiles where the processor has them and they fit, vectors elsewhere."""
    name, dtype = f"{weights.name}_{weights.dtype}", weights.dtype
    fits = runtime.machine.has_tiles and outputs >= TILE_ROWS
    told: tuple[ir.Weights | str, ...] = (weights, dtype)
    if fits and weights.bits:
        one, few, many = (digits(dtype, weights.group, n) for n in (1, FEW_ROWS, TILE_ROWS))
        kernels = (
            (1, one, f"tiles_one_{name}", tiles.emit_one_row),
            (FEW_ROWS, few, f"tiles_few_{name}", tiles.emit_few_rows),
            (TILE_ROWS, many, f"tiles_many_{name}", tiles.emit_many_rows),
        )
        limits = tiles.CHUNK_OUTPUTS, tiles.MOST_ROWS
    elif fits and dtype == "bfloat16" and depth % plain_tiles.STEP == 0:
        told = ()
        kernels = (
            (1, pairs(1), "tiles_one", plain_tiles.emit_one_row),
            (TILE_ROWS, pairs(TILE_ROWS), "tiles_many", plain_tiles.emit_many_rows),
        )
        limits = plain_tiles.CHUNK_OUTPUTS, plain_tiles.MOST_ROWS
    else:
        form = floats(dtype, runtime.lanes)
        kernels = (
            (1, form, f"one_{name}", ir.emit_one_row),
            (ir.MOST_ROWS, form, f"many_{name}", ir.emit_many_rows),
        )
        limits = ir.PANEL_OUTPUTS, ir.MOST_ROWS
    built = ((rows, form, runtime.kernel(name, emit, *told)) for rows, form, name, emit in kernels)
    way = Way(tuple(built), *limits)
    for _, form, _ in way.kernels:  # built now, so that no step waits for a compiler
        form.kernel(runtime)
    return way


def packed_form(arrays: list[mx.array], bits: int, group: int) -> ir.Weights | None:
    """How affine weights, scales and biases are stored, if there is a kernel for it."""
    dtype = DTYPES.get(arrays[1].dtype)
    depth = arrays[0].shape[-1] * 32 // bits
    known = bits in BITS and group in GROUPS and depth % group == 0
    return ir.Weights(dtype, bits, group) if dtype and known else None


def plain_form(runtime: Runtime, weight: mx.array) -> ir.Weights | None:
    """The same for weights that are not packed."""
    dtype = DTYPES.get(weight.dtype)
    return ir.Weights(dtype) if dtype and weight.shape[-1] % runtime.lanes == 0 else None


def quantized(
    runtime: Runtime, arrays: list[mx.array], bits: int, group: int
) -> LinearKernel | None:
    """A kernel for affine weights, scales and biases; None: not covered."""
    weights = packed_form(arrays, bits, group)
    return LinearKernel(runtime, weights, arrays) if weights else None


def plain(runtime: Runtime, weight: mx.array) -> LinearKernel | None:
    """A kernel for weights (outputs, depth); None: not covered."""
    weights = plain_form(runtime, weight)
    return LinearKernel(runtime, weights, [weight]) if weights else None
