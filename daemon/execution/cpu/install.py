"""Puts kernels into the modules of a loaded model, and takes nothing else from it.

A module keeps its class name, parameters and place; only what calling it runs is another. Where a
kernel does not fit what it is given (another dtype, a traced function), MLX's own runs.
"""

from __future__ import annotations

import copy
import types
from functools import partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx import nn

from daemon.execution.cpu import experts, linear
from daemon.execution.cpu.arrays import DTYPES, NotEvaluated, is_contiguous
from daemon.execution.cpu.attention import Attention
from daemon.execution.cpu.block import FusedBlock, Parts
from daemon.execution.cpu.experts import ExpertsKernel, GatedExperts
from daemon.execution.cpu.rows import Angles, Norm, Rope, Swiglu

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.cpu.linear import LinearKernel
    from daemon.execution.cpu.runtime import Runtime

ACTIVATIONS = "mlx_lm.models.activations"
BASE = "mlx_lm.models.base"
EXPERTS = "mlx_lm.models.switch_layers"
SWITCHED = "SwitchLinear", "QuantizedSwitchLinear"
LINEAR, EMBEDDING = (nn.Linear, nn.QuantizedLinear), (nn.Embedding, nn.QuantizedEmbedding)


def install_all(model: nn.Module, runtime: Runtime) -> int:
    """Give every module of ``model`` that a kernel covers its kernel; how many."""
    for module in model.modules():
        if _is_of(EXPERTS, type(module), "SwitchGLU"):
            # The default is one object for all models of the process: ours must be ours alone.
            module.activation = copy.copy(module.activation)
    modules = list({id(module): module for module in model.modules()}.values())
    dtypes = sorted({DTYPES[a.dtype] for m in modules for a in _arrays(m) if a.dtype in DTYPES})
    installer = _Installer(runtime, dtypes)
    count = sum(installer.install(module) for module in modules)
    # Last, for they are made of what the modules inside got.
    return count + sum(installer.fuse(module) for module in modules)


def _arrays(module: Any) -> list[mx.array]:
    return [value for value in module.values() if isinstance(value, mx.array)]


def _straighten(module: Any) -> None:
    """Let weights lie as kernels read them: some models load them turned, or cut out of others."""
    for name, value in module.items():
        if isinstance(value, mx.array) and not is_contiguous(value):
            module[name] = mx.contiguous(value)
            mx.eval(module[name])


class _Installer:
    """What the modules of one model share."""

    def __init__(self, runtime: Runtime, dtypes: list[str]) -> None:
        self._runtime, self._dtypes = runtime, dtypes
        self._angles: dict[bytes, Angles] = {}
        self._rebound: dict[type[Any], type[Any]] = {}
        self._kernels: dict[int, Any] = {}
        """By identity of modules, which the model keeps alive."""
        self._swiglu, self._attention = Swiglu(runtime, dtypes), Attention(runtime)
        self._scratch = experts.Scratch()
        self._functions = {
            (ACTIVATIONS, "swiglu"): partial(_swiglu, self._swiglu),
            (BASE, "scaled_dot_product_attention"): partial(_attention, self._attention),
        }

    def install(self, module: Any) -> bool:
        """Give one module its kernel, if there is one."""
        kind = type(module)
        switched = _is_of(EXPERTS, kind, *SWITCHED)
        if switched or kind in LINEAR or kind in EMBEDDING:
            _straighten(module)
        if switched or kind in LINEAR:
            kernel = self._experts(module) if switched else self._linear(module)
            if module.get("bias") is None:
                self._kernels[id(module)] = kernel
            return _replace(module, "__call__", kernel, _with_bias(kernel, module))
        if kind in EMBEDDING:
            kernel = self._linear(module)
            return _replace(module, "as_linear", kernel, kernel)
        if kind is nn.RMSNorm:
            kernel = self._kernels[id(module)] = self._norm(module)
            return _replace(module, "__call__", kernel, kernel)
        if kind is nn.RoPE or kind.__name__ == "Llama3RoPE":
            kernel = self._kernels[id(module)] = self._rope(module)
            return _replace(module, "__call__", kernel, kernel)
        return self._rebind(module)

    def _linear(self, module: Any) -> LinearKernel | None:
        if "scales" not in module:
            return linear.plain(self._runtime, module["weight"])
        packed = _packed(module)
        return packed and linear.quantized(self._runtime, *packed)

    def _experts(self, module: Any) -> ExpertsKernel | None:
        runtime, scratch = self._runtime, self._scratch
        if "scales" not in module:
            return experts.plain(runtime, scratch, module["weight"])
        packed = _packed(module)
        return packed and experts.quantized(runtime, scratch, *packed)

    def fuse(self, module: Any) -> bool:
        """Give experts, or a block of the usual form, one call for all their kernels."""
        if _is_of(EXPERTS, type(module), "SwitchGLU"):
            gated = self._gated_experts(module)
            return _replace(module, "__call__", gated, gated)
        over = type(module).__dict__.get("over")  # a stage leaves its forward there, see `stage`
        kind = type(module).__base__ if over else type(module)
        parts = Parts.of(module, kind, self._kernel)
        if parts is None:
            return False
        fused = FusedBlock(self._runtime, parts, self._attention, self._swiglu)
        module.__class__ = kind
        _replace(module, "__call__", fused, fused)
        if over is not None:
            module.__class__ = over(type(module))
        return True

    def _gated_experts(self, module: Any) -> GatedExperts | None:
        layers = module.gate_proj, module.up_proj, module.down_proj
        gate, up, down = (self._kernel(layer, ExpertsKernel) for layer in layers)
        if None in {gate, up, down} or not _is_of(EXPERTS, type(module.activation), "SwiGLU"):
            return None
        covered = GatedExperts.covers(gate, up, down, self._runtime.lanes)
        return GatedExperts(gate, up, down, self._swiglu) if covered else None

    def _kernel(self, module: Any, kind: type[Any]) -> Any:
        found = self._kernels.get(id(module))
        return found if isinstance(found, kind) else None

    def _norm(self, module: Any) -> Norm | None:
        weight = module["weight"]
        if not Norm.covers(weight, self._runtime.lanes):
            return None
        return Norm(self._runtime, weight, module.eps)

    def _rope(self, module: Any) -> Rope | None:
        if module.traditional or not Rope.covers(module.dims, self._runtime.lanes):
            return None
        if isinstance(module, nn.RoPE):
            exponents = np.arange(0, module.dims, 2) / module.dims
            frequencies = module.scale * float(module.base) ** -exponents
        else:
            frequencies = 1.0 / np.array(module._freqs).astype(np.float64)  # noqa: SLF001
        angles = self._angles.setdefault(frequencies.tobytes(), Angles(frequencies))
        return Rope(self._runtime, angles, self._dtypes)

    def _rebind(self, module: Any) -> bool:
        """Let a module's own code call our functions by the names it knows."""
        kind = type(module)
        if kind not in self._rebound:
            self._rebound[kind] = self._rebound_class(kind)
        module.__class__ = self._rebound[kind]
        return self._rebound[kind] is not kind

    def _rebound_class(self, kind: type[Any]) -> type[Any]:
        if "over" in kind.__dict__:  # a stage leaves its forward there, see `stage`
            inner = kind.__base__
            rebound = inner and self._rebound_class(inner)
            return kind if rebound is inner else kind.__dict__["over"](rebound)
        call = kind.__dict__.get("__call__")
        if not isinstance(call, types.FunctionType):
            return kind
        changed: dict[str, Any] = {}
        for (home, name), make in self._functions.items():
            own: Any = call.__globals__.get(name)
            # By name: mlx-lm may be loaded outside `sys.modules`, see `light_import`.
            if name in call.__code__.co_names and getattr(own, "__module__", None) == home:
                changed[name] = make(own)
        if not changed:
            return kind
        namespace = call.__globals__ | changed
        mine = types.FunctionType(
            call.__code__, namespace, call.__name__, call.__defaults__, call.__closure__
        )
        mine.__kwdefaults__ = call.__kwdefaults__
        return type(kind.__name__, (kind,), {"__call__": mine, "__module__": kind.__module__})


def _is_of(home: str, kind: type[Any], *names: str) -> bool:
    """Whether a class is one of a module's, by name: see `_rebound_class`."""
    return kind.__module__ == home and kind.__name__ in names


def _swiglu(kernel: Swiglu, own: Callable[..., mx.array]) -> Callable[..., mx.array]:
    def swiglu(gate: mx.array, x: mx.array) -> mx.array:
        if kernel.accepts(gate, x):
            try:
                return kernel(gate, x)
            except NotEvaluated:  # traced, see `_replace`
                pass
        return own(gate, x)

    return swiglu


def _attention(kernel: Attention, own: Callable[..., mx.array]) -> Callable[..., mx.array]:
    def scaled_dot_product_attention(
        queries: mx.array,
        keys: mx.array,
        values: mx.array,
        cache: Any,
        scale: float,
        mask: mx.array | str | None,
        sinks: mx.array | None = None,
    ) -> mx.array:
        plain = sinks is None and not hasattr(cache, "bits")
        if plain and kernel.accepts(queries, keys, values, mask):
            try:
                return kernel(queries, keys, values, scale, mask)
            except NotEvaluated:  # traced, see `_replace`
                pass
        return own(queries, keys, values, cache=cache, scale=scale, mask=mask, sinks=sinks)

    return scaled_dot_product_attention


def _packed(module: Any) -> tuple[list[mx.array], int, int] | None:
    """What kernels take of a quantised module: arrays, bits, group; None: of another mode."""
    if module.mode != "affine":
        return None
    arrays = [module["weight"], module["scales"], module["biases"]]
    return arrays, module.bits, module.group_size


def _with_bias(
    kernel: LinearKernel | ExpertsKernel | None, module: Any
) -> Callable[..., mx.array] | None:
    bias = module.get("bias")
    if kernel is None or bias is None:
        return kernel
    if isinstance(kernel, ExpertsKernel):
        return lambda x, indices, *_, **__: kernel(x, indices) + mx.expand_dims(bias[indices], -2)
    return lambda x: kernel(x) + bias


def _replace(module: Any, method: str, kernel: Any, run: Callable[..., mx.array] | None) -> bool:
    if kernel is None or run is None:
        return False
    kind = type(module)
    own = getattr(kind, method)

    def call(self: Any, x: mx.array, *rest: Any, **named: Any) -> mx.array:
        if not kernel.accepts(x, *rest, **named):
            return own(self, x, *rest, **named)
        try:
            return run(x, *rest, **named)
        except NotEvaluated:  # as inside mx.compile
            return own(self, x, *rest, **named)

    module.__class__ = type(kind.__name__, (kind,), {method: call, "__module__": kind.__module__})
    return True
