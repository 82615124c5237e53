"""Puts kernels into the modules of a loaded model, and takes nothing else from it.

A module keeps its class name, parameters and place; only what calling it runs is another. Where a
kernel does not fit what it is given (another dtype, a traced function), MLX's own runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx import nn

from daemon.execution.cpu import linear

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.cpu.linear import LinearKernel
    from daemon.execution.cpu.runtime import Runtime


def install_all(model: nn.Module, runtime: Runtime) -> int:
    """Give every module of ``model`` that a kernel covers its kernel; how many."""
    count = 0
    for module in {id(module): module for module in model.modules()}.values():
        count += _install(module, runtime)
    return count


def _install(module: Any, runtime: Runtime) -> bool:
    kind = type(module)
    if kind in {nn.Linear, nn.QuantizedLinear}:
        kernel = _linear_kernel(module, runtime)
        return _replace(module, "__call__", kernel, _with_bias(kernel, module))
    if kind in {nn.Embedding, nn.QuantizedEmbedding}:
        kernel = _linear_kernel(module, runtime)
        return _replace(module, "as_linear", kernel, kernel)
    return False


def _linear_kernel(module: Any, runtime: Runtime) -> LinearKernel | None:
    if not isinstance(module, nn.QuantizedLinear | nn.QuantizedEmbedding):
        return linear.plain(runtime, module["weight"])
    if module.mode != "affine":
        return None
    arrays = [module["weight"], module["scales"], module["biases"]]
    return linear.quantized(runtime, arrays, module.bits, module.group_size)


def _with_bias(kernel: LinearKernel | None, module: Any) -> Callable[[mx.array], mx.array] | None:
    bias = module.get("bias")
    if kernel is None or bias is None:
        return kernel
    return lambda x: kernel(x) + bias


def _replace(
    module: Any,
    method: str,
    kernel: LinearKernel | None,
    run: Callable[[mx.array], mx.array] | None,
) -> bool:
    if kernel is None or run is None:
        return False
    kind = type(module)
    own = getattr(kind, method)

    def call(self: Any, x: mx.array) -> mx.array:
        if not kernel.accepts(x):
            return own(self, x)
        try:
            return run(x)
        except RuntimeError:  # inside mx.compile or vmap nothing has a value
            return own(self, x)

    module.__class__ = type(kind.__name__, (kind,), {method: call})
    return True
