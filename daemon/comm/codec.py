"""Python values, NumPy and MLX arrays as bytes, and back, running nothing that was received.

Layout (docs/wire.md): a kind byte, the length of a msgpack tree, the tree, then the raw bytes
of arrays, which the tree refers to. Only registered dataclasses are built. Decode in the thread
that uses the value: MLX arrays belong to threads.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgpack
import numpy as np

from daemon.comm import mlx_arrays, numpy_arrays
from daemon.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable

TREE, PLAIN_BYTES = 1, 2
"""First byte: a tree with arrays behind it, or nothing but bytes."""
MAX_TREE_BYTES = 4 * 1024 * 1024
"""Of the msgpack part. Hostile bytes grow about 70 times as Python objects, so it is small."""
MAX_DEPTH = 64
"""Of containers in containers, on both sides."""
MAX_BIG_INT_BYTES = 4096

_HEAD = struct.Struct("<BxxxI")
_ALIGNMENT = 16
_PLAIN_HEAD = _HEAD.pack(PLAIN_BYTES, 0)

_TUPLE, _SET, _FROZENSET, _DATACLASS, _BIG_INT, _COMPLEX = range(1, 7)
_NUMPY, _NUMPY_SCALAR, _MLX = range(7, 10)

Registered = TypeVar("Registered")
Fields = tuple[tuple[str, bool], ...]
"""Name of each field, and whether its type is a tuple: those travel as plain lists."""
_by_name: dict[str, tuple[type[Any], Fields]] = {}
_by_class: dict[type[Any], tuple[str, Fields]] = {}


def register(cls: type[Registered]) -> type[Registered]:
    """Let a dataclass cross the wire, under its class name. Usable as a decorator.

    Raises:
        CodecError: no dataclass, or another class has that name.
    """
    if not dataclasses.is_dataclass(cls):
        raise CodecError(f"{cls!r} is no dataclass: only dataclasses can be registered")
    name = cls.__name__
    if _by_name.get(name, (cls,))[0] is not cls:
        raise CodecError(f"another class is registered as {name}")
    fields = tuple(
        (field.name, str(field.type).startswith("tuple[")) for field in dataclasses.fields(cls)
    )
    _by_name[name] = (cls, fields)
    _by_class[cls] = (name, fields)
    return cls


def encode(value: Any) -> bytes:
    """The bytes of ``value``, arrays evaluated and copied once. A bytearray arrives as bytes.

    Raises:
        CodecError: it holds something that can't be sent.
    """
    return b"".join(encode_parts(value))


def encode_parts(value: Any) -> list[bytes | memoryview]:
    """Like `encode`, in pieces that share the memory of large arrays: nothing is copied.

    Raises:
        CodecError: it holds something that can't be sent.
    """
    if type(value) is bytes:
        return [_PLAIN_HEAD, value]
    encoder = _Encoder()
    tree = encoder.pack(value)
    if len(tree) > MAX_TREE_BYTES:
        raise CodecError(
            f"object tree of {len(tree)} bytes is over {MAX_TREE_BYTES}: send bulk data as arrays"
        )
    padding = b"\0" * (-(_HEAD.size + len(tree)) % _ALIGNMENT)
    return [_HEAD.pack(TREE, len(tree)) + tree + padding, *encoder.parts]


def decode(data: bytes | bytearray | memoryview) -> Any:
    """The value in ``data``. NumPy arrays share its memory, MLX arrays are copies.

    Raises:
        CodecError: ``data`` was not made by `encode`, or names an unregistered class.
    """
    view = memoryview(data)
    if view.nbytes >= _HEAD.size and view[0] == PLAIN_BYTES:
        return bytes(view[_HEAD.size :])
    if view.nbytes < _HEAD.size:
        raise CodecError(f"{view.nbytes} bytes are no encoded value")
    kind, tree_bytes = _HEAD.unpack_from(view)
    end = _HEAD.size + tree_bytes
    if kind != TREE or end > view.nbytes:
        raise CodecError(f"no encoded value: kind {kind}, tree of {tree_bytes} bytes")
    if tree_bytes > MAX_TREE_BYTES:
        raise CodecError(f"object tree of {tree_bytes} bytes is over {MAX_TREE_BYTES}")
    return _Decoder(view[end + -end % _ALIGNMENT :]).unpack(view[_HEAD.size : end])


class _Encoder:
    """Packs one value; collects the raw parts that go behind the tree."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self._offset = 0
        self._depth = 0
        self._packers: list[Any] = []

    def pack(self, value: Any) -> bytes:
        """The msgpack tree of ``value``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise CodecError(f"value nested deeper than {MAX_DEPTH}")
        try:
            packed = self._packer().pack(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CodecError(f"value can't be sent: {error}") from error
        self._depth -= 1
        if len(packed) > MAX_DEPTH and type(value) in (list, dict):
            _check_depth(value)
        return packed  # pyright: ignore[reportReturnType] - autoreset is on: it is bytes

    def _packer(self) -> Any:
        """One for each depth: the outer ones are in the middle of something."""
        if len(self._packers) < self._depth:
            # The default buffer of 256 KB costs more than all the rest.
            packer = msgpack.Packer(default=self._default, strict_types=True, buf_size=512)
            self._packers.append(packer)
        return self._packers[self._depth - 1]

    def _default(self, value: Any) -> msgpack.ExtType:
        kind = type(value)
        registered = _by_class.get(kind)
        if registered is not None:
            name, fields = registered
            values = [getattr(value, field) for field, _ in fields]
            for index, (_, is_tuple) in enumerate(fields):
                if is_tuple and type(values[index]) is tuple:
                    values[index] = list(values[index])
            return msgpack.ExtType(_DATACLASS, self.pack([name, *values]))
        pack = _PACKERS.get(kind)
        if pack is not None:
            return pack(self, value)
        if isinstance(value, np.generic):
            return self._array(_NUMPY_SCALAR, numpy_arrays, value)
        if isinstance(value, np.ndarray):
            return self._array(_NUMPY, numpy_arrays, value)
        if mlx_arrays.is_array(value):
            return self._array(_MLX, mlx_arrays, value)
        raise CodecError(
            f"{kind.__module__}.{kind.__qualname__} can't be sent: "
            "send plain data, arrays or a registered dataclass"
        )

    def _array(self, code: int, arrays: Any, value: Any) -> msgpack.ExtType:
        dtype, shape = arrays.describe(value)
        return msgpack.ExtType(code, self.pack([dtype, list(shape), *self._raw(arrays.raw(value))]))

    def _raw(self, data: bytes | memoryview) -> tuple[int, int]:
        """Put ``data`` behind the tree; its offset and length there."""
        offset, size = self._offset, len(data)
        padding = -size % _ALIGNMENT
        if size:
            self.parts.append(data)
        if padding:
            self.parts.append(b"\0" * padding)
        self._offset += size + padding
        return offset, size

    def pack_tuple(self, value: Any) -> msgpack.ExtType:
        return msgpack.ExtType(_TUPLE, self.pack(list(value)))

    def pack_set(self, value: Any) -> msgpack.ExtType:
        code = _SET if type(value) is set else _FROZENSET
        return msgpack.ExtType(code, self.pack(list(value)))

    def pack_int(self, value: int) -> msgpack.ExtType:
        size = value.bit_length() // 8 + 1
        if size > MAX_BIG_INT_BYTES:
            raise CodecError(f"integer of {size} bytes is over {MAX_BIG_INT_BYTES}")
        return msgpack.ExtType(_BIG_INT, value.to_bytes(size, "little", signed=True))

    def pack_complex(self, value: complex) -> msgpack.ExtType:
        return msgpack.ExtType(_COMPLEX, struct.pack("<dd", value.real, value.imag))


_PACKERS: dict[type[Any], Callable[[_Encoder, Any], msgpack.ExtType]] = {
    tuple: _Encoder.pack_tuple,
    set: _Encoder.pack_set,
    frozenset: _Encoder.pack_set,
    int: _Encoder.pack_int,
    complex: _Encoder.pack_complex,
}


class _Decoder:
    """Unpacks one tree; ``data`` is what stands behind it."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._depth = 0

    def unpack(self, tree: memoryview | bytes) -> Any:
        """The value of a (nested) tree."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _refuse(f"nested deeper than {MAX_DEPTH}")
        try:
            value = msgpack.unpackb(tree, ext_hook=self._extension, strict_map_key=False)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CodecError(f"no encoded value: {error}") from error
        self._depth -= 1
        if len(tree) > MAX_DEPTH:  # every level takes a byte
            _check_depth(value)
        return value

    def _extension(self, code: int, data: bytes) -> Any:
        if code == _BIG_INT and len(data) <= MAX_BIG_INT_BYTES:
            return int.from_bytes(data, "little", signed=True)
        if code == _COMPLEX and len(data) == 16:
            return complex(*struct.unpack("<dd", data))
        values = self.unpack(data)
        if type(values) is not list:
            _refuse(f"extension {code} holds no list")
        build = _BUILDERS.get(code)
        return build(values) if build is not None else self._array(code, values)

    def _array(self, code: int, values: list[Any]) -> Any:
        if code not in (_NUMPY, _NUMPY_SCALAR, _MLX) or len(values) != 4:
            _refuse(f"extension {code} with {len(values)} values")
        dtype, shape, *where = values
        if type(shape) is not list:
            _refuse("array without a shape")
        data = self._raw(where)
        if code == _MLX:
            return mlx_arrays.build(dtype, shape, data)
        array = numpy_arrays.build(dtype, shape, data)
        if code == _NUMPY:
            return array
        return array[()] if array.shape == () else _refuse("scalar with a shape")

    def _raw(self, where: list[Any]) -> memoryview:
        match where:
            case [int(offset), int(size)] if 0 <= offset <= offset + size <= self._data.nbytes:
                return self._data[offset : offset + size]
            case _:
                return _refuse("an array lies outside the message")


def _build(values: list[Any]) -> Any:
    name = values[0] if values else None
    cls, fields = _by_name.get(name, (None, ())) if type(name) is str else (None, ())
    if cls is None:
        _refuse(f"class {str(name)[:80]} is not registered here")
    if len(values) - 1 != len(fields):
        _refuse(f"{name} has {len(fields)} fields, not {len(values) - 1}")
    for index, (_, is_tuple) in enumerate(fields, 1):
        if is_tuple and type(values[index]) is list:
            values[index] = tuple(values[index])
    return cls(*values[1:])


_BUILDERS: dict[int, Callable[[list[Any]], Any]] = {
    _TUPLE: tuple,
    _DATACLASS: _build,
    _SET: set,
    _FROZENSET: frozenset,
}


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if type(parent) in (list, dict)
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) in (list, dict)
        ]
        if not level:
            return
    raise CodecError(f"value nested deeper than {MAX_DEPTH}")


def _refuse(why: str) -> NoReturn:
    raise CodecError(f"no encoded value: {why}")
