"""NumPy arrays as a description and raw bytes, and back without a copy.

Refuses dtypes that hold Python objects. Any thread.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from daemon.errors import CodecError

MAX_DIMENSIONS = 32


def describe(array: np.ndarray[Any, Any] | np.generic) -> tuple[Any, tuple[int, ...]]:
    """Dtype (as `np.dtype` reads it) and shape, in types that msgpack knows.

    Raises:
        CodecError: the dtype holds Python objects.
    """
    dtype = array.dtype
    if dtype.hasobject:
        raise CodecError("a NumPy array of Python objects can't be sent: convert it first")
    return (dtype.descr if dtype.names else dtype.str), array.shape


def raw(array: np.ndarray[Any, Any] | np.generic) -> memoryview:
    """The elements in C order as bytes; a copy only if the layout asks for one."""
    flat: Any = np.ascontiguousarray(array).reshape(-1)
    return memoryview(flat.view(np.uint8)) if flat.nbytes else memoryview(b"")


def build(dtype: Any, shape: list[int], data: memoryview) -> np.ndarray[Any, Any]:
    """The array over ``data`` itself: read-only exactly if ``data`` is.

    Raises:
        CodecError: dtype, shape and size of ``data`` don't fit together.
    """
    parsed = _dtype(dtype)
    check_shape(shape, parsed.itemsize, data.nbytes)
    if not data.nbytes:
        return np.empty(shape, parsed)
    return np.frombuffer(data, np.uint8).view(parsed).reshape(shape)


def check_shape(shape: list[int], itemsize: int, nbytes: int) -> None:
    """Refuse a shape that claims another size than the bytes that came with it.

    Raises:
        CodecError: it does, or it is no shape.
    """
    valid = len(shape) <= MAX_DIMENSIONS and all(
        type(size) is int and 0 <= size < 2**48 for size in shape
    )
    if not valid or math.prod(shape) * itemsize != nbytes:
        raise CodecError(f"array of shape {str(shape)[:80]} does not match its {nbytes} bytes")


def _dtype(description: Any) -> np.dtype[Any]:
    if isinstance(description, list):
        description = [_field(field) for field in description]
    elif not isinstance(description, str) or len(description) > 64:
        raise CodecError("array without a dtype")
    try:
        dtype = np.dtype(description)
    except (TypeError, ValueError, SyntaxError) as error:
        raise CodecError(f"unknown dtype {str(description)[:80]}") from error
    if dtype.hasobject:
        raise CodecError("dtype with Python objects refused")
    return dtype


def _field(field: Any) -> tuple[Any, ...]:
    """One entry of a structured dtype: lists become the tuples that NumPy wants."""
    if not isinstance(field, (list, tuple)) or not 2 <= len(field) <= 3:
        raise CodecError("structured dtype with a malformed field")
    name, kind, *shape = field
    if isinstance(kind, list):
        kind = [_field(inner) for inner in kind]
    return (name, kind, *(tuple(size) for size in shape))
