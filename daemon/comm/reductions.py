"""Element-wise reductions: what is exchanged, how two parts combine, what comes out. Pure.

Sums of bfloat16 and float16 are taken in float32, of integers in 64 bits or more, and an integer
result that its dtype can't hold is an error instead of a wrong number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from daemon.comm import mlx_arrays
from daemon.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]
Operation = Literal["sum", "mean", "max", "min"]
OPERATIONS = ("sum", "mean", "max", "min")
_LOW = 2**32 - 1
_NUMERIC = "bui" + "fc"


@dataclass(frozen=True, slots=True)
class Reduction:
    """One rank's part of a reduction."""

    work: Array
    """Flat, in the dtype that is exchanged; may be the caller's own memory."""
    signature: str
    """Must be the same on every rank."""
    combine: Callable[..., Array]
    """Of two parts, that of the lower ranks first; takes `out`."""
    finish: Callable[[Array, int], Any]
    """The result from the reduced `work` and the number of ranks."""


def prepare(value: Any, operation: str) -> Reduction:
    """How to reduce ``value``, an array or a number, over ranks.

    Raises:
        ValueError: no such operation.
        CodecError: values of this kind can't be reduced.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"unknown operation {operation!r}: one of {', '.join(OPERATIONS)}")
    mlx = mlx_arrays.is_array(value)
    kind = mlx_arrays.describe(value)[0] if mlx else ""
    array = _host(value, kind) if mlx else np.asarray(value)
    dtype, shape = array.dtype, array.shape
    signature = _signature(operation, dtype, kind, shape)
    flat = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    work, restore = _widen(flat.reshape(-1), operation)

    def finish(reduced: Array, count: int) -> Any:
        total = restore(reduced, count).reshape(shape)
        if mlx:
            return mlx_arrays.from_host(total, _mlx_result(kind, total))
        return total if isinstance(value, np.ndarray) else total[()].item()

    return Reduction(work, signature, _COMBINE[operation], finish)


_COMBINE: dict[str, Callable[..., Array]] = {
    "sum": np.add,
    "mean": np.add,
    "max": np.maximum,
    "min": np.minimum,
}


@lru_cache(maxsize=256)
def _signature(operation: str, dtype: np.dtype[Any], kind: str, shape: tuple[int, ...]) -> str:
    if dtype.kind not in _NUMERIC or (dtype.kind == "c" and operation in ("max", "min")):
        raise CodecError(f"{operation} of {kind or dtype} is not defined")
    return f"{operation} {f'mlx {kind}' if kind else dtype.str} {shape}"


def _host(value: Any, kind: str) -> Array:
    """An MLX array as a NumPy one; bfloat16 as float32."""
    if kind == "bfloat16":
        value = mlx_arrays.cast(value, "float32")
    data: Any = mlx_arrays.raw(value)
    dtype = mlx_arrays.numpy_dtype("float32" if kind == "bfloat16" else kind)
    return np.frombuffer(data, dtype).reshape(value.shape)


def _mlx_result(kind: str, total: Array) -> str:
    """MLX dtype of a result: that of the input, but integers have wider sums and real means."""
    if kind == "bool_" and total.dtype.kind != "b":
        return "float32" if total.dtype.kind == "f" else "int32"
    return "float32" if total.dtype == np.float64 and kind != "float64" else kind


def _widen(flat: Array, operation: str) -> tuple[Array, Callable[[Array, int], Array]]:
    """What to exchange for ``flat``, and how to get the result back from it."""
    dtype = flat.dtype
    mean = operation == "mean"
    if operation in ("max", "min"):
        return flat, lambda reduced, _count: reduced
    if dtype.kind in "fc":
        wide = np.float32 if dtype.itemsize == 2 else dtype.newbyteorder("=")
        return flat.astype(wide, copy=False), lambda reduced, count: (
            reduced / count if mean else reduced
        ).astype(dtype, copy=False)
    if dtype.kind in "ui" and dtype.itemsize == 8:
        return _limbs(flat), lambda reduced, count: _join(reduced, dtype, count if mean else 0)
    return flat.astype(
        np.int64
    ), lambda reduced, count: reduced / count if mean else _narrow(reduced, dtype)


def _narrow(total: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "b":
        return total
    limits = np.iinfo(dtype)
    if total.size and (total.min() < limits.min or total.max() > limits.max):
        raise OverflowError(f"the sum over ranks does not fit into {dtype}: send a wider dtype")
    return total.astype(dtype)


def _limbs(flat: Array) -> Array:
    """64-bit integers as pairs of high and low halves, which can be added 2**31 times."""
    limbs = np.empty((flat.size, 2), np.int64)
    limbs[:, 0] = flat >> flat.dtype.type(32)
    limbs[:, 1] = flat & flat.dtype.type(_LOW)
    return limbs.reshape(-1)


def _join(reduced: Array, dtype: np.dtype[Any], mean_of: int) -> Array:
    high, low = reduced.reshape(-1, 2).T
    if mean_of:
        return (high.astype(np.float64) * 2.0**32 + low) / mean_of
    high = high + (low >> 32)
    limits = np.iinfo(dtype)
    if high.size and (high.min() < limits.min >> 32 or high.max() > limits.max >> 32):
        raise OverflowError(f"the sum over ranks does not fit into {dtype}")
    return (high.astype(dtype) << dtype.type(32)) | (low & _LOW).astype(dtype)
