"""MLX arrays as addresses for kernels, and memory that kernels filled as MLX arrays. No copies in.

Reading an address evaluates the array, on the calling thread.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import mlx.core as mx
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

DTYPES = {mx.float32: "float32", mx.bfloat16: "bfloat16", mx.float16: "float16"}
"""What kernels compute with."""
_DLPACK = {"float32": (2, 32), "bfloat16": (4, 16), "float16": (2, 16)}
"""Type code and bits."""
_STRIDES = 0x18
"""PyBUF_STRIDES: any layout, no format."""
_MOST_DIMENSIONS = 8
_CPU = 1
LINE = 64
"""Bytes of a cache line."""


class _Buffer(ctypes.Structure):
    """Py_buffer of the stable ABI."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


class _Tensor(ctypes.Structure):
    """DLManagedTensor; MLX copies what it points to."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_get = ctypes.pythonapi.PyObject_GetBuffer
_get.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
_release = ctypes.pythonapi.PyBuffer_Release
_release.argtypes = [ctypes.c_void_p]
_release.restype = None
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsule.restype = ctypes.py_object


class NotEvaluated(RuntimeError):
    """An array has no value now, as inside mx.compile."""


class View:
    """The memory of an evaluated array, held until `close` (or the view is gone)."""

    __slots__ = ("_array", "_at", "_buffer", "address")

    def __init__(self, array: mx.array) -> None:
        """Look at ``array``.

        Raises:
            NotEvaluated: it can't be evaluated now.
        """
        self._array = array
        self._buffer = _Buffer()
        self._at = ctypes.addressof(self._buffer)
        try:
            _get(array, self._at, _STRIDES)
        except RuntimeError as error:
            raise NotEvaluated(str(error)) from error
        self.address: int = self._buffer.buf

    def strides(self) -> list[int]:
        """Bytes from one item to the next, per axis."""
        return self._buffer.strides[: self._buffer.ndim]

    def hold(self) -> mx.array:
        """What keeps this memory as it is while it lives, even if someone runs ``array += 1``."""
        if self._array is None:
            raise ValueError("this view of an array is closed: hold it before that")
        return mx.stop_gradient(self._array)

    def close(self) -> None:
        """Let go of the array: MLX writes into memory in place only when nobody looks at it."""
        if self._at:
            _release(self._at)
            self._at = 0
            self._array = None

    __del__ = close

    def __enter__(self) -> View:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def contiguous(array: mx.array) -> View:
    """A view of ``array``, or of a copy without gaps."""
    view = View(array)
    if _has_gaps(view, array):
        view.close()
        return View(mx.contiguous(array))
    return view


def is_contiguous(array: mx.array) -> bool:
    """Whether the items of ``array`` lie in order, without gaps."""
    with View(array) as view:
        return not _has_gaps(view, array)


def _has_gaps(view: View, array: mx.array) -> bool:
    expected = array.itemsize
    for stride, size in zip(reversed(view.strides()), reversed(array.shape), strict=True):
        if size > 1 and stride != expected:
            return True
        expected *= size
    return False


def numbers(array: mx.array) -> np.ndarray:
    """A copy of whole numbers, of any layout.

    Raises:
        NotEvaluated: it can't be evaluated now.
    """
    try:
        return np.asarray(memoryview(array)).astype(np.int64)  # pyright: ignore[reportArgumentType]
    except RuntimeError as error:
        raise NotEvaluated(str(error)) from error


class _Items:
    """What numpy looks at, in its own words."""

    def __init__(self, address: int, count: int, item_bytes: int) -> None:
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (count,),
            "typestr": f"|V{item_bytes}",
            "version": 3,
        }


def items_at(address: int, count: int, item_bytes: int) -> np.ndarray:
    """Memory as numpy items that are moved whole; the caller keeps it alive."""
    return np.asarray(_Items(address, count, item_bytes))


class Arguments:
    """The argument block of one kernel; what does not change is written once."""

    def __init__(self, *values: int) -> None:
        self.words = (ctypes.c_int64 * len(values))(*values)
        self.address = ctypes.addressof(self.words)


class Job(NamedTuple):
    """One call of a kernel."""

    kernel: int
    arguments: Arguments
    chunks: int
    work: int
    """Multiply-adds in all chunks."""


class Output:
    """Memory for a kernel's result, used again by the next one: MLX copies it out."""

    def __init__(self) -> None:
        self._memory = (ctypes.c_uint8 * 0)()
        self._own = 0
        self._shape = (ctypes.c_int64 * _MOST_DIMENSIONS)()
        self._tensor = _Tensor(device_type=_CPU, lanes=1, shape=ctypes.addressof(self._shape))
        self._address = ctypes.addressof(self._tensor)

    def reserve(self, size_bytes: int) -> int:
        """Address of at least so many bytes, at the start of a line."""
        if size_bytes + LINE > len(self._memory):
            self._memory = (ctypes.c_uint8 * (size_bytes + LINE))()
            self._own = -(-ctypes.addressof(self._memory) // LINE) * LINE
        return self._own

    def array(self, shape: Sequence[int], dtype: str, address: int = 0) -> mx.array:
        """What was written, here or at ``address``, as an array of its own."""
        tensor = self._tensor
        tensor.data = address or self._own
        tensor.ndim = len(shape)
        tensor.code, tensor.bits = _DLPACK[dtype]
        self._shape[: len(shape)] = shape
        return mx.array(_capsule(self._address, b"dltensor", None))
