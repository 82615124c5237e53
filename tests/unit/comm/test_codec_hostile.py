"""Bytes made to do harm: refused with an error, no effect, no memory. And any value comes back."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from daemon.comm import codec
from daemon.errors import CodecError

MARK = Path("/tmp") / f"mlxconsole-codec-{os.getpid()}"  # noqa: S108 - must not come to exist


class Evil:
    """A pickle of this runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (MARK,))


def framed(tree: bytes, behind: bytes = b"") -> bytes:
    """A tree as the codec frames it."""
    padding = b"\0" * (-(8 + len(tree)) % 16)
    return struct.pack("<BxxxI", 1, len(tree)) + tree + padding + behind


def extension(code: int, value: Any) -> bytes:
    """A tree of one extension."""
    packed: Any = msgpack.packb(msgpack.ExtType(code, msgpack.packb(value)))
    return packed


def nested(depth: int) -> bytes:
    """Extensions in extensions."""
    tree: Any = msgpack.packb([])
    for _ in range(depth):
        tree = msgpack.packb(msgpack.ExtType(1, b"\x91" + tree))
    return tree


def nested_lists(depth: int) -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "pickle": pickle.dumps(Evil()),
    "old pickle": pickle.dumps(Evil(), protocol=0),
    "pickle framed": framed(pickle.dumps(Evil())),
    "pickle bomb": b"\x80\x04\x8a\x04\xff\xff\xff\x7f",
    "claims 4 G items": framed(b"\xdd\xff\xff\xff\xff"),
    "claims 4 GB bytes": framed(b"\xc6\xff\xff\xff\xff"),
    "claims 4 GB tree": struct.pack("<BxxxI", 1, 2**32 - 1),
    "deep lists": framed(b"\x91" * 100_000 + b"\xc0"),
    "deep maps": framed(b"\x81\xc0" * 100_000 + b"\xc0"),
    "deep extensions": framed(nested(80)),
    "unhashable key": framed(b"\x81\x90\xc0"),
    "unhashable set": framed(extension(2, [[1]])),
    "unknown extension": framed(extension(77, [])),
    "unknown class": framed(extension(4, ["os.system", "true"])),
    "class by number": framed(extension(4, [5])),
    "class without name": framed(extension(4, [])),
    "object dtype": framed(extension(7, ["O", [1], 0, 8]), bytes(8)),
    "object in struct": framed(extension(7, [[["a", "O"]], [1], 0, 8]), bytes(8)),
    "dtype expression": framed(extension(7, ["__import__('os')", [1], 0, 8]), bytes(8)),
    "huge shape": framed(extension(7, ["<f8", [2**40], 0, 8]), bytes(8)),
    "huge empty shape": framed(extension(7, ["<f8", [2**63, 0], 0, 0])),
    "huge itemsize": framed(extension(7, ["V2000000000", [1], 0, 8]), bytes(8)),
    "negative shape": framed(extension(7, ["<f8", [-1], 0, 8]), bytes(8)),
    "outside": framed(extension(7, ["<f8", [1], 8, 8]), bytes(8)),
    "negative offset": framed(extension(7, ["<f8", [1], -8, 8]), bytes(8)),
    "mlx attribute": framed(extension(9, ["load", [1], 0, 1]), bytes(16)),
    "mlx huge": framed(extension(9, ["float32", [2**40], 0, 16]), bytes(16)),
    "not a list": framed(extension(7, 5)),
    "trailing": framed(b"\xc0\xc0"),
    "big integer": framed(msgpack.packb(msgpack.ExtType(5, bytes(100_000))) or b""),
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused(name: str) -> None:
    """An error, no effect and no memory beyond a small multiple of what came."""
    data = HOSTILE[name]
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            codec.decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000 + 100 * len(data)
    assert not MARK.exists()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_give_a_value_or_a_codec_error(data: bytes) -> None:
    """Whatever arrives, no other exception comes out of the decoder."""
    for candidate in (data, framed(data), framed(b"\xc7" + data)):
        try:
            codec.decode(candidate)
        except CodecError:
            continue


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
    ),
    max_leaves=25,
)


@settings(max_examples=80, deadline=None)
@given(VALUES)
def test_any_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    """Round trip, nested."""
    result = codec.decode(codec.encode(value))
    assert result == value
    assert type(result) is type(value)
    assert repr(result) == repr(value) or isinstance(value, (set, frozenset, dict, list, tuple))


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        arrays.scalar_dtypes() | arrays.array_dtypes(max_size=3),
        arrays.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4),
    )
)
def test_any_numpy_array_comes_back(array: np.ndarray[Any, Any]) -> None:
    """Every dtype without Python objects, structured ones too, zero sizes and 0-d."""
    result = codec.decode(codec.encode(array))
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert result.tobytes() == np.ascontiguousarray(array).tobytes()


UNSENDABLE: dict[str, Any] = {
    "object": object(),
    "function": len,
    "class inside": [1, {2: object}],
    "huge integer": 10**20_000,
    "object array": np.array([None]),
    "deep": nested_lists(200),
}


@pytest.mark.parametrize("name", UNSENDABLE)
def test_values_that_cant_be_sent_are_named(name: str) -> None:
    """The sender is told, before anything has left."""
    with pytest.raises(CodecError):
        codec.encode(UNSENDABLE[name])
