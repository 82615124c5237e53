"""Attention on MLX arrays, where the cache keeps them. Engine thread."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import mlx.core as mx

from daemon.execution.cpu import attention_ir as ir
from daemon.execution.cpu.arrays import DTYPES, Arguments, Job, View
from daemon.execution.cpu.emit import ITEM_BYTES
from daemon.execution.cpu.rows import float_bits

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from daemon.execution.cpu.runtime import Runtime

MOST_WIDTH = 256
"""Of a head's values: their sums must stay near registers."""
MOST_KEYS = 1 << 18
"""Scores of a query rest on the stack: 2 MB."""


class Attention:
    """`mx.fast.scaled_dot_product_attention`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._kernels: dict[ir.Shape, int] = {}

    def accepts(self, q: mx.array, k: mx.array, v: mx.array, mask: mx.array | str | None) -> bool:
        """Whether there is a kernel: known by the layer's shapes and dtypes alone."""
        lanes, depth, width = self._runtime.lanes, q.shape[-1], v.shape[-1]
        return (
            q.dtype in DTYPES
            and q.dtype == k.dtype == v.dtype
            and q.ndim == k.ndim == v.ndim == 4
            and depth % lanes == 0
            and width % lanes == 0
            and max(depth, width) <= MOST_WIDTH
            and q.shape[1] % k.shape[1] == 0
            and k.shape[2] <= MOST_KEYS
            and q.size > 0
            and mask_kind(mask) in ir.MASKS
        )

    def covers(self, width: int, mask: mx.array | str | None) -> bool:
        """Whether queries, keys and values so wide have a kernel with such a mask."""
        fits = width % self._runtime.lanes == 0 and width <= MOST_WIDTH
        return fits and mask_kind(mask) in ir.MASKS

    def __call__(
        self, q: mx.array, k: mx.array, v: mx.array, scale: float, mask: mx.array | str | None
    ) -> mx.array:
        """(batch, heads, length, width)."""
        runtime, dtype = self._runtime, DTYPES[q.dtype]
        batch, heads, length, _ = q.shape
        width = v.shape[-1]
        with View(q) as view:
            strides = view.strides()
            if strides[-1] != ITEM_BYTES[dtype]:
                return self(mx.contiguous(q), k, v, scale, mask)
            target = runtime.output.reserve(batch * length * heads * width * ITEM_BYTES[dtype])
            with self.job(view.address, strides, q.shape, (k, v), scale, mask, target) as job:
                runtime.run(*job)
        out = runtime.output.array((batch, length, heads, width), dtype)
        return out.transpose(0, 2, 1, 3)

    @contextmanager
    def job(
        self,
        queries: int,
        strides: Sequence[int],
        shape: Sequence[int],
        cached: tuple[mx.array, mx.array],
        scale: float,
        mask: mx.array | str | None,
        target: int,
    ) -> Generator[Job]:
        """The call for queries at an address, good inside the block.

        Args:
            queries: where they are, (batch, heads, length, depth) of ``shape`` and ``strides``.
            strides: in bytes.
            shape: of the queries.
            cached: keys and values.
            scale: of the products.
            mask: see `mask_kind`.
            target: (batch, length, heads, width).
        """
        k, v = cached
        batch, heads, length, depth = shape
        key_heads, keys, width = k.shape[1], k.shape[2], v.shape[-1]
        dtype, kind = DTYPES[k.dtype], mask_kind(mask)
        # Masks that are arrays live until the kernel has run.
        mask_array = _broadcast(mask, (batch, heads, length, keys), kind)
        mx.eval(k, v)  # together: each evaluation is a change of threads
        with ExitStack() as open_views:
            k_view, v_view = (open_views.enter_context(_with_whole_rows(a)) for a in (k, v))
            mask_view = None if mask_array is None else open_views.enter_context(View(mask_array))
            group = heads // key_heads
            tiles = -(-group * length // ir.TILE)
            block = Arguments(
                queries,
                k_view.address,
                v_view.address,
                target,
                mask_view.address if mask_view else 0,
                float_bits(scale),
                key_heads,
                group,
                length,
                keys,
                *strides[:3],
                *k_view.strides()[:3],
                *v_view.strides()[:3],
                *(mask_view.strides() if mask_view else [0] * 4),
                tiles,
            )
            kernel = self._kernel(ir.Shape(dtype, depth, width, kind))
            work = batch * heads * length * keys * (depth + width)
            yield Job(kernel, block, batch * key_heads * tiles, work)

    def _kernel(self, shape: ir.Shape) -> int:
        if shape not in self._kernels:
            # What prompts and decoding, alone and in batches, will need: a stage's first forward
            # builds all of it, before the rank is ready.
            for mask in {"none", "causal", "bool", shape.mask}:
                other = replace(shape, mask=mask)
                kernel = self._runtime.kernel(other.name, ir.emit_attention, other)
                self._kernels[other] = kernel
        return self._kernels[shape]


def _with_whole_rows(array: mx.array) -> View:
    """A view whose last axis has no gaps."""
    view = View(array)
    if view.strides()[-1] == array.itemsize:
        return view
    view.close()
    return View(mx.contiguous(array))


def mask_kind(mask: mx.array | str | None) -> str:
    """One of `attention_ir.MASKS`, or what else it may be."""
    if mask is None or isinstance(mask, str):
        return mask or "none"
    return "bool" if mask.dtype == mx.bool_ else "add"


def _broadcast(mask: mx.array | str | None, shape: tuple[int, ...], kind: str) -> mx.array | None:
    if not isinstance(mask, mx.array):
        return None
    wanted = mask.astype(mx.float32) if kind == "add" else mask
    return mx.broadcast_to(wanted, shape)
