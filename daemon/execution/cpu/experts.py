"""The layers of a mixture of experts: each row meets the weights that indices name.

Rows of one expert are multiplied together by the kernels of `linear`, so that a row gets what a
layer of that expert alone would give it, whoever is sent there beside it. Engine thread.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import mlx.core as mx

from daemon.execution.cpu import experts_ir
from daemon.execution.cpu.arrays import DTYPES, LINE, Output, View, contiguous
from daemon.execution.cpu.emit import ITEM_BYTES
from daemon.execution.cpu.linear import MOST_ROWS, packed_form, plain_form, way_of
from daemon.execution.cpu.routes import route
from daemon.execution.cpu.runtime import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.execution.cpu.linear_ir import Weights
    from daemon.execution.cpu.ready import Form
    from daemon.execution.cpu.routes import Call
    from daemon.execution.cpu.rows import Swiglu
    from daemon.execution.cpu.runtime import Runtime


class Scratch:
    """Memory that all mixtures of a model share."""

    def __init__(self) -> None:
        self.gathered, self.packed, self.result = Output(), Output(), Output()
        self.gate, self.up, self.gated, self.packed_gated = (Output() for _ in range(4))


class _Kind(NamedTuple):
    """What multiplies some number of rows."""

    form: Form
    packer: int
    kernel: int


class ExpertsKernel:
    """A linear layer of each expert; bias is the caller's business."""

    def __init__(
        self, runtime: Runtime, scratch: Scratch, weights: Weights, arrays: list[mx.array]
    ) -> None:
        """Prepare for ``arrays``, each (experts, outputs, ...) without gaps: see `linear`."""
        self.runtime, self.scratch = runtime, scratch
        self._views = [View(array) for array in arrays]
        self.dtype = weights.dtype
        self.experts, self.outputs, width = arrays[0].shape
        bits = weights.bits or 8 * ITEM_BYTES[weights.dtype]
        self.depth = width * arrays[0].itemsize * 8 // bits
        way = way_of(runtime, weights, self.outputs, self.depth)
        self._chunk = way.chunk
        packers = {form: form.kernel(runtime) for _, form, _ in way.kernels}
        ways = [way.of(rows) for rows in range(MOST_ROWS + 1)]
        self._kinds = [_Kind(form, packers[form], kernel) for form, kernel in ways]
        """By the number of rows."""
        self._chunks = -(-self.outputs // way.chunk)
        self._calls = runtime.kernel("calls", experts_ir.emit_calls)
        self._weight_row_bytes = self.depth * bits // 8
        self._arrays = [
            (view.address, array.nbytes // self.experts)
            for view, array in zip(self._views, arrays, strict=True)
        ]
        """Addresses, and bytes of an expert."""
        self._arrays += [(0, 0)] * (3 - len(arrays))

    @property
    def shape(self) -> tuple[object, ...]:
        """Layers of one shape take the same rows in the same forms, and give as many outputs."""
        sizes = self.experts, self.depth, self.outputs, self._chunk
        return (*sizes, *dict.fromkeys(kind.form for kind in self._kinds))

    def accepts(self, x: mx.array, indices: mx.array, sorted_indices: bool = False) -> bool:
        """Whether ``x`` is single rows of the dtype this was built for."""
        del sorted_indices  # seen, not believed
        return (
            DTYPES.get(x.dtype) == self.dtype
            and x.ndim > 1
            and x.shape[-2:] == (1, self.depth)
            and _can_route(x, indices)
        )

    def __call__(self, x: mx.array, indices: mx.array, sorted_indices: bool = False) -> mx.array:
        """(..., 1, depth) and indices (...) -> (..., 1, outputs), with what is ... broadcast.

        Raises:
            NotEvaluated: ``x`` or ``indices`` can't be evaluated now.
            IndexError: there is no such expert.
        """
        del sorted_indices
        batch, item = x.shape[:-2], ITEM_BYTES[self.dtype]
        routes, shape = route(indices, batch, self.experts, MOST_ROWS)
        runtime, scratch, steps = self.runtime, self.scratch, Steps(self.runtime)
        with contiguous(x) as view:
            rows = math.prod(batch)
            places = routes.gather(view, rows, self.depth * item, scratch.gathered)
            ready = self.pack(steps, routes.calls, places, scratch.packed)
            target = runtime.output.reserve(len(routes.sources) * self.outputs * item)
            self.multiply(steps, routes.calls, ready, [(self, target)])
            steps.run()
        result = routes.put_back(target, self.outputs * item, scratch.result)
        return runtime.output.array((*shape, 1, self.outputs), self.dtype, result)

    def pack(
        self, steps: Steps, calls: Sequence[Call], places: Sequence[int], memory: Output
    ) -> list[int]:
        """Have the rows at ``places`` made ready for their calls; where they will be."""
        wanted = [(place, call.rows) for place, call in zip(places, calls, strict=True)]
        offsets: dict[tuple[int, int], int] = {}  # what several experts take is made ready once
        size = 0
        for key in wanted:
            form = self._kinds[key[1]].form
            if key not in offsets and form.emit is not None:
                offsets[key] = size
                size += -(-form.size(key[1], self.depth) // LINE) * LINE
        base, row_bytes = memory.reserve(size), self.depth * ITEM_BYTES[self.dtype]
        for (place, rows), offset in offsets.items():
            form, packer, _ = self._kinds[rows]
            arguments = place, base + offset, rows, self.depth, row_bytes
            steps.add(packer, -(-rows // form.tile_rows), rows * self.depth, arguments)
        return [base + offsets[key] if key in offsets else key[0] for key in wanted]

    def multiply(
        self,
        steps: Steps,
        calls: Sequence[Call],
        ready: Sequence[int],
        targets: Sequence[tuple[ExpertsKernel, int]],
    ) -> None:
        """Have rows that are ready multiplied by layers of this shape, all at once."""
        words = [self._chunks]
        for layer, target in targets:
            words += layer.blocks(calls, ready, target)
        products = len(targets) * sum(call.rows for call in calls) * self.outputs * self.depth
        chunks = len(targets) * len(calls) * self._chunks
        steps.add(self._calls, chunks, products, words)

    def blocks(self, calls: Sequence[Call], ready: Sequence[int], target: int) -> list[int]:
        """The arguments of calls that write one behind the other: see `experts_ir`."""
        (w, w_step), (scales, scales_step), (biases, biases_step) = self._arrays
        row_bytes, kinds = self.outputs * ITEM_BYTES[self.dtype], self._kinds
        same = self.outputs, self.depth, self._chunk
        words: list[int] = []
        for (expert, first, rows), source in zip(calls, ready, strict=True):
            words += (
                source,
                target + first * row_bytes,
                w + expert * w_step,
                scales + expert * scales_step,
                biases + expert * biases_step,
                *same,
                rows,
                self._weight_row_bytes,
                kinds[rows].kernel,
            )
        return words


class GatedExperts:
    """`SwitchGLU`: down(swiglu(gate, up)) in one run of machine code."""

    def __init__(
        self, gate: ExpertsKernel, up: ExpertsKernel, down: ExpertsKernel, swiglu: Swiglu
    ) -> None:
        """Of layers that `covers` accepts."""
        self._runtime, self._scratch = gate.runtime, gate.scratch
        self._gate, self._up, self._down, self._swiglu = gate, up, down, swiglu

    @staticmethod
    def covers(gate: ExpertsKernel, up: ExpertsKernel, down: ExpertsKernel, lanes: int) -> bool:
        """Whether gate and up may run as one, and down takes what they give."""
        width = gate.outputs
        fits = (down.experts, down.depth, down.dtype) == (gate.experts, width, gate.dtype)
        return gate.shape == up.shape and fits and width % lanes == 0

    def accepts(self, x: mx.array, indices: mx.array) -> bool:
        """Whether ``x`` is rows of the dtype this was built for, each with its indices."""
        return (
            DTYPES.get(x.dtype) == self._gate.dtype
            and x.shape == (*indices.shape[:-1], self._gate.depth)
            and _can_route(x, indices)
        )

    def __call__(self, x: mx.array, indices: mx.array) -> mx.array:
        """(..., depth) and indices (..., k) -> (..., k, outputs).

        Raises:
            NotEvaluated: ``x`` or ``indices`` can't be evaluated now.
            IndexError: there is no such expert.
        """
        gate, up, down, scratch = self._gate, self._up, self._down, self._scratch
        batch, dtype = x.shape[:-1], gate.dtype
        item = ITEM_BYTES[dtype]
        routes, shape = route(indices, (*batch, 1), gate.experts, MOST_ROWS)
        calls, count = routes.calls, len(routes.sources)
        steps, output = Steps(self._runtime), self._runtime.output
        at_gate, at_up, at_gated = (
            memory.reserve(count * gate.outputs * item)
            for memory in (scratch.gate, scratch.up, scratch.gated)
        )
        target = output.reserve(count * down.outputs * item)
        with contiguous(x) as view:
            places = routes.gather(view, math.prod(batch), gate.depth * item, scratch.gathered)
            ready = gate.pack(steps, calls, places, scratch.packed)
            gate.multiply(steps, calls, ready, [(gate, at_gate), (up, at_up)])
            job = self._swiglu.job(at_gate, at_up, at_gated, count * gate.outputs, dtype)
            steps.add(job.kernel, job.chunks, job.work, job.arguments.words)
            places = [at_gated + call.first * down.depth * item for call in calls]
            ready = down.pack(steps, calls, places, scratch.packed_gated)
            down.multiply(steps, calls, ready, [(down, target)])
            steps.run()
        result = routes.put_back(target, down.outputs * item, scratch.result)
        return output.array((*shape, down.outputs), dtype, result)


def _can_route(x: mx.array, indices: mx.array) -> bool:
    return x.size > 0 and indices.size > 0 and mx.issubdtype(indices.dtype, mx.integer)


def quantized(
    runtime: Runtime, scratch: Scratch, arrays: list[mx.array], bits: int, group: int
) -> ExpertsKernel | None:
    """A kernel for affine weights, scales and biases of all experts; None: not covered."""
    weights = packed_form(arrays, bits, group)
    return ExpertsKernel(runtime, scratch, weights, arrays) if weights else None


def plain(runtime: Runtime, scratch: Scratch, weight: mx.array) -> ExpertsKernel | None:
    """A kernel for weights (experts, outputs, depth); None: not covered."""
    weights = plain_form(runtime, weight)
    return ExpertsKernel(runtime, scratch, weights, [weight]) if weights else None
