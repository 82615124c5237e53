"""MLX arrays as a dtype name, a shape and raw bytes, and back on the default device.

The only module here that imports mlx, and only when an MLX value is met: ranks without one start
faster. MLX evaluates in the caller's thread, so `raw` and `build` belong to that thread.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from daemon.comm.numpy_arrays import check_shape
from daemon.errors import CodecError

_DTYPES = {
    "bool_": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
}
"""Name in `mlx.core` -> bytes per element."""


def is_array(value: Any) -> bool:
    """Whether ``value`` is an MLX array; imports nothing."""
    mlx = sys.modules.get("mlx.core")
    return mlx is not None and isinstance(value, mlx.array)


def describe(array: Any) -> tuple[str, tuple[int, ...]]:
    """Dtype name and shape."""
    name = str(array.dtype).removeprefix("mlx.core.")
    return ("bool_" if name == "bool" else name), array.shape


def raw(array: Any) -> memoryview:
    """The elements in C order as bytes, evaluated; a copy only if the layout asks for one."""
    view = memoryview(array)
    if not view.c_contiguous:
        view = memoryview(_mlx().contiguous(array))
    return view.cast("B") if view.nbytes else memoryview(b"")


def build(dtype: str, shape: list[int], data: memoryview) -> Any:
    """A new MLX array with a copy of ``data``, or over it if it landed in MLX memory.

    Raises:
        CodecError: dtype, shape and size of ``data`` don't fit together.
    """
    itemsize = _DTYPES.get(dtype)
    if itemsize is None:
        raise CodecError(f"unknown MLX dtype {str(dtype)[:80]}")
    check_shape(shape, itemsize, data.nbytes)
    mx = _mlx()
    kind = getattr(mx, dtype)
    if not data.nbytes:
        return mx.zeros(shape, dtype=kind)
    owner: Any = data.obj
    if isinstance(owner, np.ndarray):
        base: Any = owner.base  # of `landing`: the view of an MLX array
        owner = base.obj if isinstance(base, memoryview) else None
    if isinstance(owner, mx.array) and owner.ndim == 1:
        start = _address(data) - _address(memoryview(owner))
        return owner[start : start + data.nbytes].view(kind).reshape(shape)
    return mx.array(data).view(kind).reshape(shape)


def landing(size: int) -> np.ndarray[Any, Any] | None:
    """Writable bytes in MLX memory for `build` to use in place; None without mlx."""
    try:
        mx = _mlx()
    except ImportError:
        return None
    buffer = mx.zeros(size, dtype=mx.uint8)
    mx.eval(buffer)
    return np.frombuffer(memoryview(buffer), np.uint8)


def _address(data: memoryview) -> int:
    return np.frombuffer(data, np.uint8).__array_interface__["data"][0]


def _mlx() -> Any:
    import mlx.core as mx  # noqa: PLC0415 - see the module's header

    return mx


def cast(array: Any, dtype: str) -> Any:
    """The array in another dtype."""
    return array.astype(getattr(_mlx(), dtype))


def from_host(array: np.ndarray[Any, Any], dtype: str) -> Any:
    """An MLX array of a dtype from a NumPy one."""
    mx = _mlx()
    return mx.array(array).astype(getattr(mx, dtype))


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """NumPy's dtype of the same name; there is none for bfloat16."""
    return np.dtype(dtype.rstrip("_"))
