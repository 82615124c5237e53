"""Norm, positions and activation: what MLX gives, within the rounding of the format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.activations import swiglu

from daemon.execution.cpu.rows import Angles, Norm, Rope, Swiglu
from daemon.execution.cpu.runtime import Runtime

if TYPE_CHECKING:
    from daemon.execution.cpu.machine import Machine

ROUNDING = {"float32": 2.0**-18, "bfloat16": 2.0**-6, "float16": 2.0**-9}
DTYPES = [mx.float32, mx.bfloat16, mx.float16]
ALL = ["float32", "bfloat16", "float16"]


@pytest.fixture(scope="module")
def runtime(code: Machine) -> Runtime:
    """One thread."""
    return Runtime(code=code)


def _random(shape: tuple[int, ...], dtype: mx.Dtype, seed: int = 1) -> mx.array:
    return (3 * mx.random.normal(shape, key=mx.random.key(seed))).astype(dtype)


def _numbers(array: mx.array) -> np.ndarray:
    return np.array(array.astype(mx.float32))


def _assert_close(ours: mx.array, own: mx.array) -> None:
    """Within the last bits of the larger of the number and 1."""
    assert (ours.shape, ours.dtype) == (own.shape, own.dtype)
    rounding = ROUNDING[str(own.dtype).rpartition(".")[2]]
    np.testing.assert_allclose(_numbers(ours), _numbers(own), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [16, 128, 2048])
def test_norm_is_mlx_s(runtime: Runtime, dtype: mx.Dtype, dim: int) -> None:
    """Heads and hidden states."""
    weight = _random((dim,), dtype)
    x = _random((2, 19, dim), dtype, 2)
    _assert_close(Norm(runtime, weight, 1e-6)(x), mx.fast.rms_norm(x, weight, 1e-6))


def test_norm_of_a_row_depends_on_no_other(runtime: Runtime) -> None:
    """Bit for bit, through views too."""
    norm = Norm(runtime, _random((64,), mx.bfloat16), 1e-5)
    x = _random((40, 64), mx.bfloat16, 3)
    alone = mx.concatenate([norm(x[row : row + 1]) for row in range(40)])
    assert mx.array_equal(norm(x), alone).item()
    assert mx.array_equal(norm(mx.contiguous(x.T).T), alone).item()


@pytest.mark.parametrize("dtype", DTYPES)
def test_activation_is_mlx_s(runtime: Runtime, dtype: mx.Dtype) -> None:
    """Also where the exponential leaves the range of float32."""
    gate = mx.concatenate([_random((3, 96), dtype), mx.full((3, 32), -100.0, dtype)], axis=-1)
    gate = mx.concatenate([gate, mx.full((3, 32), 300.0, dtype)], axis=-1)
    x = _random((3, 160), dtype, 2)
    kernel = Swiglu(runtime, ALL)
    assert kernel.accepts(gate, x)
    _assert_close(kernel(gate, x), swiglu(gate, x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dims", [128, 64])
def test_positions_are_mlx_s(runtime: Runtime, dtype: mx.Dtype, dims: int) -> None:
    """Views as models make them; a part of the head may stay as it is."""
    x = _random((2, 5, 3, 128), dtype).transpose(0, 2, 1, 3)
    frequencies = 10000.0 ** -(np.arange(0, dims, 2) / dims)
    rope = Rope(runtime, Angles(frequencies), ALL)
    for offset in (0, 700, mx.array(3), mx.array([5, 11])):
        assert rope.accepts(x, offset)
        own = mx.fast.rope(x, dims, traditional=False, base=10000.0, scale=1.0, offset=offset)
        # MLX computes the angle in float32, which moves numbers of size 10 by 2e-4 at 700; an
        # error of one position would be a thousand times that.
        allowed = 1e-3 if dtype == mx.float32 else 3e-2
        close = mx.allclose(rope(x, offset), own, rtol=allowed, atol=allowed)
        assert close.item()


def test_a_position_gives_the_same_in_a_prompt_and_alone(runtime: Runtime) -> None:
    """A recovered token is run with its prompt."""
    rope = Rope(runtime, Angles(1000.0 ** -(np.arange(0, 64, 2) / 64)), ALL)
    x = _random((1, 4, 30, 64), mx.float32)
    whole = rope(x, 17)
    for at in (0, 13, 29):
        assert mx.array_equal(rope(x[:, :, at : at + 1], 17 + at), whole[:, :, at : at + 1]).item()


def test_what_is_not_covered_is_left_to_mlx(runtime: Runtime) -> None:
    """Known by the last axis alone, so that a layer is always computed the same way."""
    assert not Norm.covers(mx.zeros((20,)), runtime.lanes)
    assert not Norm.covers(mx.zeros((32,), mx.int32), runtime.lanes)
    assert not Rope.covers(24, runtime.lanes)
    kernel = Swiglu(runtime, ["float32"])
    assert not kernel.accepts(mx.zeros((16, 20)), mx.zeros((16, 20)))
    assert not kernel.accepts(mx.zeros((2, 32), mx.float16), mx.zeros((2, 32), mx.float16))
