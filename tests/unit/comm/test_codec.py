"""The codec: what goes in comes out, and nothing that comes in can do harm."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import pytest

from daemon.comm import codec
from daemon.errors import CodecError


@codec.register
@dataclass(frozen=True)
class Parcel:
    """A registered class with a nested value."""

    label: str
    content: tuple[object, ...] = ()


def round_trip(value: object) -> object:
    """Encode, then decode."""
    return codec.decode(codec.encode(value))


def test_plain_values_keep_their_types() -> None:
    """Tuples, sets and big integers have no place in plain msgpack and still come back."""
    value = [1, (2, {3, 4}), {"a": b"x", (1, 2): None}, 2**80, -(2**80), 1j, frozenset({1}), 1.5]
    assert round_trip(value) == value
    assert round_trip(b"bytes") == b"bytes"


def test_registered_dataclass_comes_back_equal() -> None:
    """Messages between ranks are dataclasses."""
    assert round_trip(Parcel("a", (1, Parcel("b")))) == Parcel("a", (1, Parcel("b")))


def test_unregistered_class_is_refused_on_both_sides() -> None:
    """Only classes that this process has registered are ever built."""

    @dataclass
    class Stranger:
        x: int

    with pytest.raises(CodecError, match="registered dataclass"):
        codec.encode(Stranger(1))
    data = codec.encode(Parcel("a")).replace(b"Parcel", b"Parcex")
    with pytest.raises(CodecError, match="Parcex is not registered"):
        codec.decode(data)


@pytest.mark.parametrize("dtype", ["?", "i1", "<u8", ">i4", "<f2", "f8", "c16", "U3", "<M8[ns]"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)])
def test_numpy_arrays_of_any_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    """Zero-size and 0-d arrays are easily lost on the way."""
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    result = round_trip(array)
    assert isinstance(result, np.ndarray)
    assert result.dtype == array.dtype
    assert result.shape == shape
    assert np.array_equal(result, array)


def test_numpy_layouts_and_structured_dtypes() -> None:
    """Memory order is the sender's own business."""
    array = np.arange(12).reshape(3, 4)
    for view in (array.T, array[::2], array[:, ::-1]):
        assert np.array_equal(np.asarray(round_trip(view)), view)
    table = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
    assert np.asarray(round_trip(table)).tolist() == [(1, 2.0)]
    assert type(round_trip(np.float32(2))) is np.float32


def test_object_arrays_are_refused() -> None:
    """They would need pickle."""
    with pytest.raises(CodecError, match="Python objects"):
        codec.encode(np.array([object()]))


@pytest.mark.parametrize(
    "dtype",
    [mx.bfloat16, mx.float16, mx.float32, mx.int8, mx.uint64, mx.bool_, mx.complex64],
    ids=str,
)
def test_mlx_arrays_of_every_dtype(dtype: mx.Dtype) -> None:
    """bfloat16 first: hidden states travel in it."""
    array = mx.arange(6).reshape(2, 3).astype(dtype)
    for value in (array, array.T, array[0, 0], array[:0]):
        result = round_trip(value)
        assert isinstance(result, mx.array)
        assert result.dtype == dtype
        assert result.shape == value.shape
        assert mx.array_equal(result, value).item()
