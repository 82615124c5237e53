"""A transformer block of the usual form as two runs of machine code, around its cache.

Each step between Python and machine code finds a cold cache, for weights have passed through it: in
a token of a small model they cost a fifth of the time. The kernels are those of the block's
modules, so that no bit changes. Engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.execution.cpu import rows_ir
from daemon.execution.cpu.arrays import DTYPES, LINE, NotEvaluated, contiguous
from daemon.execution.cpu.attention import MOST_KEYS
from daemon.execution.cpu.emit import ITEM_BYTES
from daemon.execution.cpu.linear import MOST_ROWS, LinearKernel
from daemon.execution.cpu.rows import Norm, Rope, integers, sum_job
from daemon.execution.cpu.runtime import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import mlx.core as mx

    from daemon.execution.cpu.arrays import Job
    from daemon.execution.cpu.attention import Attention
    from daemon.execution.cpu.rows import Swiglu
    from daemon.execution.cpu.runtime import Runtime

FORMS = {
    "mlx_lm.models.llama": "TransformerBlock",
    "mlx_lm.models.qwen2": "TransformerBlock",
    "mlx_lm.models.qwen3": "TransformerBlock",
    "mlx_lm.models.qwen3_moe": "Qwen3MoeDecoderLayer",
}
"""Modules, and their class of blocks that do what `FusedBlock` does."""
ATTENTION, MLP = "Attention", "MLP"


@dataclass(frozen=True)
class GatedParts:
    """The kernels of a gated MLP."""

    gate: LinearKernel
    up: LinearKernel
    down: LinearKernel


@dataclass(frozen=True)
class Parts:
    """The kernels of a block's modules, and what its code reads beside them."""

    before: Norm
    q: LinearKernel
    k: LinearKernel
    v: LinearKernel
    q_norm: Norm | None
    k_norm: Norm | None
    rope: Rope
    o: LinearKernel
    after: Norm
    mlp: GatedParts | Callable[[mx.array], mx.array]
    """Its kernels, or what computes it if it is not of the usual form."""
    heads: int
    key_heads: int
    scale: float

    @staticmethod
    def of(
        block: Any, kind: type[Any] | None, kernel: Callable[[Any, type[Any]], Any]
    ) -> Parts | None:
        """The parts of a block of class ``kind``.

        None: it has not the usual form, or ``kernel`` does not find one for each part.
        """
        if kind is None or FORMS.get(kind.__module__) != kind.__name__:
            return None
        attention = block.self_attn
        if type(attention).__name__ != ATTENTION:
            return None
        wanted: dict[str, tuple[Any, type[Any]]] = {
            "before": (block.input_layernorm, Norm),
            "q": (attention.q_proj, LinearKernel),
            "k": (attention.k_proj, LinearKernel),
            "v": (attention.v_proj, LinearKernel),
            "rope": (attention.rope, Rope),
            "o": (attention.o_proj, LinearKernel),
            "after": (block.post_attention_layernorm, Norm),
        }
        normed = hasattr(attention, "q_norm")
        if normed:
            wanted |= {"q_norm": (attention.q_norm, Norm), "k_norm": (attention.k_norm, Norm)}
        found = {name: kernel(*item) for name, item in wanted.items()}
        if any(part is None for part in found.values()):
            return None
        found |= {} if normed else {"q_norm": None, "k_norm": None}
        found["mlp"] = _gated(block.mlp, kernel) or block.mlp
        numbers = attention.n_heads, attention.n_kv_heads, attention.scale
        parts = Parts(**found, heads=numbers[0], key_heads=numbers[1], scale=numbers[2])
        return parts if parts.fits() else None

    def fits(self) -> bool:
        """Whether all of it computes in one format, and widths are as usual."""
        kernels = [self.before, self.after, self.q, self.k, self.v, self.o]
        kernels += [norm for norm in (self.q_norm, self.k_norm) if norm]
        ends = {self.o.outputs}
        if isinstance(self.mlp, GatedParts):
            kernels += [self.mlp.gate, self.mlp.up, self.mlp.down]
            ends.add(self.mlp.down.outputs)
        width = self.q.outputs // self.heads
        return (
            len({kernel.dtype for kernel in kernels}) == 1
            and self.k.outputs == self.v.outputs == width * self.key_heads
            and self.o.depth == self.q.outputs
            and ends == {self.q.depth}
        )


def _gated(mlp: Any, kernel: Callable[[Any, type[Any]], Any]) -> GatedParts | None:
    if type(mlp).__name__ != MLP:
        return None
    kernels = [kernel(part, LinearKernel) for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj)]
    return None if None in kernels else GatedParts(*kernels)


class FusedBlock:
    """What calling a block runs."""

    def __init__(
        self, runtime: Runtime, parts: Parts, attention: Attention, swiglu: Swiglu
    ) -> None:
        self._runtime, self._parts = runtime, parts
        self._attention, self._swiglu = attention, swiglu
        self._plan: _Plan | None = None
        # Built now, so that no step waits for a compiler.
        sum_job(runtime, 0, 0, 0, 0, parts.q.dtype)

    def accepts(self, x: mx.array, mask: Any = None, cache: Any = None) -> bool:
        """Whether a step is a small one over a plain cache: larger ones lose nothing to Python."""
        parts = self._parts
        return (
            cache is not None
            and not hasattr(cache, "bits")
            and x.ndim == 3
            and 0 < x.shape[0] * x.shape[1] <= MOST_ROWS
            and DTYPES.get(x.dtype) == parts.q.dtype
            and x.shape[-1] == parts.q.depth
            and self._attention.covers(parts.q.outputs // parts.heads, mask)
            and max(integers(cache.offset)) + x.shape[1] <= MOST_KEYS
        )

    def __call__(self, x: mx.array, mask: Any = None, cache: Any = None) -> mx.array:
        """(batch, length, width), like the block.

        Raises:
            NotEvaluated: ``x`` can't be evaluated now.
            RuntimeError: something failed after the cache had been changed.
        """
        batch, length, _ = x.shape
        with contiguous(x) as view:  # until all has run: the sum reads it again
            plan = self._planned(batch, length)
            plan.start(view.address, integers(cache.offset))
            try:
                self._attend(plan, batch, length, mask, cache)
            except NotEvaluated as error:  # must not let another run of it change the cache again
                raise RuntimeError(f"a cache has no value: {error}") from error
            plan.end.run()
        out, dtype, mlp = self._runtime.output, self._parts.q.dtype, self._parts.mlp
        if isinstance(mlp, GatedParts):
            return out.array(x.shape, dtype, plan.out)
        added, rows = (out.array(x.shape, dtype, place) for place in (plan.added, plan.normed))
        return added + mlp(rows)

    def _attend(self, plan: _Plan, batch: int, length: int, mask: Any, cache: Any) -> None:
        """New keys and values into the cache, and attention to all of it."""
        parts, out, dtype = self._parts, self._runtime.output, self._parts.q.dtype
        turned = out.array((batch, parts.key_heads, length, plan.width), dtype, plan.keys)
        values = out.array((batch, length, parts.key_heads, plan.width), dtype, plan.values)
        cached = cache.update_and_fetch(turned, values.transpose(0, 2, 1, 3))
        shape = batch, parts.heads, length, plan.width
        with self._attention.job(
            plan.queries, plan.strides, shape, cached, parts.scale, mask, plan.attended
        ) as job:
            self._runtime.run(*job)

    def _planned(self, batch: int, length: int) -> _Plan:
        plan = self._plan
        if plan is None or not plan.is_for(batch, length):
            plan = self._plan = _Plan(self._runtime, self._parts, self._swiglu, batch, length)
        return plan


class _Places:
    """Addresses in the memory that all blocks share."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._offsets: dict[str, int] = {}
        self.size = 0
        for name, size in sizes.items():
            self._offsets[name] = self.size
            self.size += -(-size // LINE) * LINE

    def at(self, base: int) -> dict[str, int]:
        """Where each part is."""
        return {name: base + offset for name, offset in self._offsets.items()}


class _Plan:
    """The calls of a block for one number of sequences and positions."""

    def __init__(
        self, runtime: Runtime, parts: Parts, swiglu: Swiglu, batch: int, length: int
    ) -> None:
        self._runtime, self._parts, self._swiglu = runtime, parts, swiglu
        self._shape = batch, length
        self._rows = rows = batch * length
        self._dtype = dtype = parts.q.dtype
        self._item = item = ITEM_BYTES[dtype]
        self.width = parts.q.outputs // parts.heads
        linears = [parts.q, parts.k, parts.v, parts.o]
        outer = {"normed": parts.q.depth, "added": parts.q.depth, "out": parts.q.depth}
        inner = {"q": parts.q.outputs, "k": parts.k.outputs, "v": parts.v.outputs}
        turned = {"turned_q": parts.q.outputs, "turned_k": parts.k.outputs}
        widths = outer | inner | turned | {"attended": parts.o.depth}
        if isinstance(mlp := parts.mlp, GatedParts):
            linears += [mlp.gate, mlp.up, mlp.down]
            inner = mlp.gate.outputs
            widths |= {"gate": inner, "up": inner, "gated": inner}
        sizes = {name: rows * width * item for name, width in widths.items()}
        sizes["ready"] = max(kernel.form(rows).size(rows, kernel.depth) for kernel in linears)
        self._places = _Places(sizes)
        self._base = runtime.between.reserve(self._places.size)
        self._at = at = self._places.at(self._base)
        self.queries, self.keys, self.values = at["turned_q"], at["turned_k"], at["v"]
        self.attended, self.out = at["attended"], at["out"]
        self.added, self.normed = at["added"], at["normed"]
        line = self.width * item
        self.strides = parts.heads * length * line, length * line, line, item
        self._ropes: list[Job] = []
        self._first = parts.before.job(0, at["normed"], rows)
        self._start = Program(runtime, self._start_jobs())
        self._sum = sum_job(runtime, 0, at["out"], at["added"], rows * parts.q.depth, dtype)
        self.end = Program(runtime, self._end_jobs())

    def is_for(self, batch: int, length: int) -> bool:
        """Whether this plan fits, and the memory is where it was."""
        reserved = self._runtime.between.reserve(self._places.size)
        return (batch, length) == self._shape and reserved == self._base

    def start(self, x: int, offsets: tuple[int, ...]) -> None:
        """Queries, keys and values of rows at ``x``."""
        length, rope = self._shape[1], self._parts.rope
        tables, step = rope.tables(offsets, length), rope.table_step(offsets, length)
        for job in self._ropes:
            words = job.arguments.words
            words[rows_ir.ROPE_COS], words[rows_ir.ROPE_SIN] = tables
            words[rows_ir.ROPE_TABLE] = step
        self._first.arguments.words[rows_ir.NORM_X] = x
        self._sum.arguments.words[rows_ir.GATE] = x
        self._start.run()

    def _linears(self, source: str, kernels: Mapping[str, LinearKernel]) -> list[Job]:
        """Layers that take the same rows: made ready once for each form."""
        jobs: list[Job] = []
        at, rows, form = self._at, self._rows, None
        for target, kernel in kernels.items():
            place = at[source]
            wanted = kernel.form(rows)
            if wanted.emit is not None:
                place = at["ready"]
                if wanted != form:
                    jobs.append(wanted.job(self._runtime, at[source], place, rows, kernel.depth))
                    form = wanted
            jobs.append(kernel.job(place, at[target], rows))
        return jobs

    def _start_jobs(self) -> list[Job]:
        parts, at = self._parts, self._at
        jobs = [self._first]
        jobs += self._linears("normed", {"q": parts.q, "k": parts.k, "v": parts.v})
        both = (("q", parts.heads, parts.q_norm), ("k", parts.key_heads, parts.k_norm))
        for name, heads, norm in both:
            if norm is not None:
                jobs.append(norm.job(at[name], at[name], self._rows * heads))
            self._ropes.append(self._rope(name, heads))
        return jobs + self._ropes

    def _rope(self, name: str, heads: int) -> Job:
        batch, length = self._shape
        line = self.width * self._item
        strides = heads * length * line, line, heads * line
        shape = batch, heads, length, self.width
        source, target = self._at[name], self._at[f"turned_{name}"]
        return self._parts.rope.job(source, strides, target, shape, self._dtype)

    def _end_jobs(self) -> list[Job]:
        parts, at, rows = self._parts, self._at, self._rows
        jobs = [
            *self._linears("attended", {"out": parts.o}),
            self._sum,
            parts.after.job(at["added"], at["normed"], rows),
        ]
        if isinstance(parts.mlp, GatedParts):
            jobs += self._mlp_jobs(parts.mlp)
        return jobs

    def _mlp_jobs(self, mlp: GatedParts) -> list[Job]:
        at, rows, dtype, runtime = self._at, self._rows, self._dtype, self._runtime
        gated = self._swiglu.job(at["gate"], at["up"], at["gated"], rows * mlp.down.depth, dtype)
        count = rows * self._parts.q.depth
        return [
            *self._linears("normed", {"gate": mlp.gate, "up": mlp.up}),
            gated,
            *self._linears("gated", {"out": mlp.down}),
            sum_job(runtime, at["added"], at["out"], at["out"], count, dtype),
        ]
