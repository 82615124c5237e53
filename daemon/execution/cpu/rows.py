"""RMS norm, rotary positions and gated activation on MLX arrays. Engine thread."""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from daemon.execution.cpu import rows_ir as ir
from daemon.execution.cpu.arrays import DTYPES, Arguments, Job, View, contiguous
from daemon.execution.cpu.emit import ITEM_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.execution.cpu.runtime import Runtime

ROWS_OF_CHUNK = 16
ITEMS_OF_CHUNK = 8192
TABLES = 4
"""Angles of the latest positions are kept: all layers of a step turn by the same."""


class Norm:
    """`nn.RMSNorm` of one module."""

    def __init__(self, runtime: Runtime, weight: mx.array, epsilon: float) -> None:
        self._runtime = runtime
        self._view = View(weight)
        self.dim = weight.size
        self.dtype = DTYPES[weight.dtype]
        self._kernel = runtime.kernel(f"norm_{self.dtype}", ir.emit_rms_norm, self.dtype)
        self._block = Arguments(
            0, self._view.address, 0, 0, self.dim, ROWS_OF_CHUNK, float_bits(epsilon)
        )

    def job(self, source: int, target: int, rows: int) -> Job:
        """The call for rows at ``source``."""
        block = Arguments(*self._block.words)
        words = block.words
        words[ir.NORM_X], words[ir.NORM_Y], words[ir.NORM_ROWS] = source, target, rows
        return Job(self._kernel, block, -(-rows // ROWS_OF_CHUNK), rows * self.dim)

    @staticmethod
    def covers(weight: mx.array, lanes: int) -> bool:
        """Whether there is a kernel for it."""
        return weight.dtype in DTYPES and weight.size % lanes == 0

    def accepts(self, x: mx.array) -> bool:
        """Whether ``x`` is of the dtype and size that this was built for."""
        return DTYPES.get(x.dtype) == self.dtype and x.shape[-1] == self.dim and x.size > 0

    def __call__(self, x: mx.array) -> mx.array:
        """Any shape whose last axis is the weight's."""
        runtime, words = self._runtime, self._block.words
        rows = x.size // self.dim
        with contiguous(x) as view:
            words[ir.NORM_X], words[ir.NORM_ROWS] = view.address, rows
            words[ir.NORM_Y] = runtime.output.reserve(x.size * ITEM_BYTES[self.dtype])
            runtime.run(self._kernel, self._block, -(-rows // ROWS_OF_CHUNK), x.size)
        return runtime.output.array(x.shape, self.dtype)


class Swiglu:
    """`mlx_lm.models.activations.swiglu`."""

    def __init__(self, runtime: Runtime, dtypes: Sequence[str]) -> None:
        self._runtime = runtime
        self._kernels = {
            dtype: runtime.kernel(f"swiglu_{dtype}", ir.emit_swiglu, dtype) for dtype in dtypes
        }

    def accepts(self, gate: mx.array, x: mx.array) -> bool:
        """Whether there is a kernel: known by dtype and width alone, whatever the rows."""
        same = gate.dtype == x.dtype and gate.shape == x.shape and x.size > 0
        return (
            same and DTYPES.get(x.dtype) in self._kernels and x.shape[-1] % self._runtime.lanes == 0
        )

    def job(self, gate: int, up: int, target: int, count: int, dtype: str) -> Job:
        """The call for ``count`` numbers."""
        block = Arguments(gate, up, target, count, ITEMS_OF_CHUNK)
        # An exponential and a division cost as much as some tens of multiply-adds.
        return Job(self._kernels[dtype], block, -(-count // ITEMS_OF_CHUNK), 32 * count)

    def __call__(self, gate: mx.array, x: mx.array) -> mx.array:
        """Of any shape."""
        runtime, dtype = self._runtime, DTYPES[x.dtype]
        with contiguous(gate) as one, contiguous(x) as two:
            target = runtime.output.reserve(x.size * ITEM_BYTES[dtype])
            runtime.run(*self.job(one.address, two.address, target, x.size, dtype))
        return runtime.output.array(x.shape, dtype)


def sum_job(runtime: Runtime, one: int, two: int, target: int, count: int, dtype: str) -> Job:
    """The call that adds ``count`` numbers to others, rounded as MLX rounds."""
    kernel = runtime.kernel(f"sum_{dtype}", ir.emit_sum, dtype)
    block = Arguments(one, two, target, count, ITEMS_OF_CHUNK)
    return Job(kernel, block, -(-count // ITEMS_OF_CHUNK), count)


class Angles:
    """Cosines and sines by position, for one set of frequencies."""

    def __init__(self, frequencies: np.ndarray) -> None:
        self._frequencies = frequencies
        self._tables: OrderedDict[tuple[tuple[int, ...], int], tuple[np.ndarray, np.ndarray]]
        self._tables = OrderedDict()

    @property
    def half(self) -> int:
        """Pairs that are turned."""
        return len(self._frequencies)

    def tables(self, offsets: tuple[int, ...], length: int) -> tuple[np.ndarray, np.ndarray]:
        """(offsets, length, half) each, float32."""
        key = offsets, length
        found = self._tables.get(key)
        if found is None:
            positions = np.add.outer(np.array(offsets), np.arange(length))
            angles = np.multiply.outer(positions, self._frequencies)
            found = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
            self._tables[key] = found
            while len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        return found


class Rope:
    """`nn.RoPE` and what else turns halves by fixed frequencies."""

    def __init__(self, runtime: Runtime, angles: Angles, dtypes: Sequence[str]) -> None:
        self._runtime, self._angles = runtime, angles
        self._kernels = {
            dtype: runtime.kernel(f"rope_{dtype}", ir.emit_rope, dtype) for dtype in dtypes
        }

    @staticmethod
    def covers(dims: int, lanes: int) -> bool:
        """Whether there is a kernel for so many turned dimensions."""
        return dims % (2 * lanes) == 0

    def accepts(self, x: mx.array, offset: int | mx.array = 0) -> bool:
        """Whether x is (batch, heads, length, dim) with an offset in common or for each."""
        count = offset.size if isinstance(offset, mx.array) else 1
        return (
            x.ndim == 4
            and x.size > 0
            and DTYPES.get(x.dtype) in self._kernels
            and x.shape[-1] % self._runtime.lanes == 0
            and count in {1, x.shape[0]}
        )

    def tables(self, offsets: tuple[int, ...], length: int) -> tuple[int, int]:
        """Addresses of cosines and sines, for `job`; good until other positions are asked for."""
        cosines, sines = self._angles.tables(offsets, length)
        return cosines.ctypes.data, sines.ctypes.data

    def table_step(self, offsets: tuple[int, ...], length: int) -> int:
        """Bytes from one sequence's angles to the next."""
        return length * self._angles.half * 4 if len(offsets) > 1 else 0

    def job(
        self, source: int, strides: Sequence[int], target: int, shape: Sequence[int], dtype: str
    ) -> Job:
        """The call for (batch, heads, length, dim); tables are the caller's to fill in."""
        batch, heads, length, dim = shape
        half = self._angles.half
        block = Arguments(source, target, 0, 0, heads, length, dim, half, 0, *strides)
        return Job(self._kernels[dtype], block, batch * heads, batch * heads * length * dim)

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        """Turned, contiguous."""
        runtime, dtype = self._runtime, DTYPES[x.dtype]
        length = x.shape[2]
        offsets = integers(offset)
        with View(x) as view:
            *strides, last = view.strides()
            if last != ITEM_BYTES[dtype]:
                return self(mx.contiguous(x), offset)
            target = runtime.output.reserve(x.size * ITEM_BYTES[dtype])
            job = self.job(view.address, strides, target, x.shape, dtype)
            job.arguments.words[2:4] = self.tables(offsets, length)
            job.arguments.words[ir.ROPE_TABLE] = self.table_step(offsets, length)
            runtime.run(*job)
        return runtime.output.array(x.shape, dtype)


def float_bits(value: float) -> int:
    """A float32 as the integer that holds it in an argument block."""
    return struct.unpack("<I", struct.pack("<f", value))[0]


def integers(offset: int | mx.array) -> tuple[int, ...]:
    """Offsets of positions as numbers: one in common, or one for each sequence."""
    if isinstance(offset, mx.array):
        values = offset.tolist()
        return tuple(values) if isinstance(values, list) else (int(values),)  # pyright: ignore
    return (int(offset),)
