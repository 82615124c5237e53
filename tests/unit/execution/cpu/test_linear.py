"""The linear kernels: as exact as float32 allows, and the same bits whoever else is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest

from daemon.execution.cpu import linear
from daemon.execution.cpu.runtime import Runtime

if TYPE_CHECKING:
    from daemon.execution.cpu.linear import LinearKernel
    from daemon.execution.cpu.machine import Machine

OUTPUTS, DEPTH = 519, 1280
"""Not a multiple of any tile; more than a panel deep."""
ROWS = 23
QUANTIZED = [
    *((bits, 64, mx.bfloat16) for bits in (2, 3, 4, 5, 6, 8)),
    (8, 32, mx.float32),
    (4, 128, mx.float32),
    (8, 128, mx.float16),
    (4, 32, mx.float16),
]
DTYPES = [mx.float32, mx.bfloat16, mx.float16]
UNIT = {mx.float32: 2.0**-23, mx.bfloat16: 2.0**-8, mx.float16: 2.0**-11}
"""Distance of neighbouring numbers near 1."""


@pytest.fixture(scope="module")
def runtime(every_way: Machine) -> Runtime:
    """One thread."""
    return Runtime(code=every_way)


def _quantized(runtime: Runtime, bits: int, group: int, dtype: mx.Dtype) -> LinearKernel:
    kernel = linear.quantized(runtime, _packed(bits, group, dtype), bits, group)
    assert kernel is not None
    return kernel


def _packed(bits: int, group: int, dtype: mx.Dtype) -> list[mx.array]:
    return list(mx.quantize(_weights(dtype), group, bits))


def _weights(dtype: mx.Dtype) -> mx.array:
    return mx.random.normal((OUTPUTS, DEPTH), key=mx.random.key(1)).astype(dtype)


def _rows(dtype: mx.Dtype, count: int = ROWS) -> mx.array:
    return mx.random.normal((count, DEPTH), key=mx.random.key(2)).astype(dtype)


def _exact(array: mx.array) -> np.ndarray:
    return np.array(array.astype(mx.float32)).astype(np.float64)


def _assert_close(result: mx.array, x: mx.array, weights: np.ndarray) -> None:
    """Within one rounding of the result, and float32 rounding of the sum of absolutes."""
    truth = _exact(x) @ weights.T
    size = np.abs(_exact(x)) @ np.abs(weights).T
    allowed = UNIT[result.dtype] * np.abs(truth) + 2.0**-21 * size
    assert result.dtype == x.dtype
    assert np.all(np.abs(_exact(result) - truth) <= allowed)


@pytest.mark.parametrize(("bits", "group", "dtype"), QUANTIZED)
def test_packed_weights_give_the_exact_sum(
    runtime: Runtime, bits: int, group: int, dtype: mx.Dtype
) -> None:
    """Against float64, far closer than the 2 % that a wrong bit of one weight would make."""
    packed, scales, biases = _packed(bits, group, dtype)
    wide = (scales.astype(mx.float32), biases.astype(mx.float32))
    weights = _exact(mx.dequantize(packed, *wide, group_size=group, bits=bits))
    kernel = _quantized(runtime, bits, group, dtype)
    for rows in (1, 4, ROWS):
        x = _rows(dtype, rows)
        _assert_close(kernel(x), x, weights)


@pytest.mark.parametrize(("bits", "group", "dtype"), QUANTIZED)
def test_packed_weights_give_what_mlx_gives(
    runtime: Runtime, bits: int, group: int, dtype: mx.Dtype
) -> None:
    """MLX's own kernel is the reference of the product, with its own rounding."""
    packed = _packed(bits, group, dtype)
    x = _rows(dtype, 3)
    own = mx.quantized_matmul(x, *packed, transpose=True, group_size=group, bits=bits)
    ours = _quantized(runtime, bits, group, dtype)(x)
    difference = np.abs(_exact(own) - _exact(ours)).max()
    # MLX adds up in the dtype itself: that error grows with the root of the depth.
    assert difference <= np.abs(_exact(own)).max() * UNIT[dtype] * DEPTH**0.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_weights_give_the_exact_sum(runtime: Runtime, dtype: mx.Dtype) -> None:
    """Unquantised layers, in all three formats."""
    kernel = linear.plain(runtime, _weights(dtype))
    assert kernel is not None
    _assert_close(kernel(_rows(dtype)), _rows(dtype), _exact(_weights(dtype)))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("rows", [2, 3, 4, 5, 6, 7, 16, 17, 33, 50, 96, 97])
def test_a_row_never_depends_on_its_neighbours(runtime: Runtime, rows: int, packed: bool) -> None:
    """Bit for bit: this is why a recovered answer goes on as if nothing had happened."""
    plain = linear.plain(runtime, _weights(mx.bfloat16))
    kernel = _quantized(runtime, 8, 64, mx.bfloat16) if packed else plain
    assert kernel is not None
    x = _rows(mx.bfloat16, rows)
    alone = mx.concatenate([kernel(x[row : row + 1]) for row in range(rows)])
    assert mx.array_equal(kernel(x), alone).item()


def test_threads_change_no_bit(runtime: Runtime) -> None:
    """Chunks go to whoever is free; each output is still summed by one thread in one order."""
    x = _rows(mx.bfloat16, 40)
    several = Runtime(threads=3, code=runtime.machine)
    one = _quantized(runtime, 4, 64, mx.bfloat16)(x)
    for _ in range(20):
        assert mx.array_equal(_quantized(several, 4, 64, mx.bfloat16)(x), one).item()


def test_few_outputs_and_groups(runtime: Runtime) -> None:
    """Fewer outputs than a tile has, a few more, and rows of scales shorter than a register."""
    for outputs in (1, 15, 16, 17, 33, 63, 65):
        weights = mx.random.normal((outputs, 192), key=mx.random.key(outputs))
        arrays = list(mx.quantize(weights, 64, 8))
        kernel = linear.quantized(runtime, arrays, 8, 64)
        assert kernel is not None
        exact = _exact(mx.dequantize(*arrays, group_size=64, bits=8))
        for rows in (1, 3, 19):
            x = mx.random.normal((rows, 192), key=mx.random.key(3))
            _assert_close(kernel(x), x, exact)


def test_numbers_far_apart_and_no_numbers(runtime: Runtime) -> None:
    """A group's largest number must not cost the others theirs; what is none stays none."""
    kernel = _quantized(runtime, 8, 64, mx.bfloat16)
    packed, scales, biases = _packed(8, 64, mx.bfloat16)
    wide = (scales.astype(mx.float32), biases.astype(mx.float32))
    weights = _exact(mx.dequantize(packed, *wide, group_size=64, bits=8))
    spread = 2.0 ** mx.random.randint(-40, 41, (4, DEPTH), key=mx.random.key(5))
    outlier = mx.where(mx.arange(DEPTH) % 64 == 7, 3000.0, 1.0)
    for factor in (spread.astype(mx.float32), outlier, mx.array(1e-30), mx.array(0.0)):
        x = (_rows(mx.float32, 4) * factor).astype(mx.bfloat16)
        _assert_close(kernel(x), x, weights)
    for bad in (float("nan"), float("inf")):
        x = mx.where(mx.arange(DEPTH) == 70, bad, _rows(mx.bfloat16, 2)).astype(mx.bfloat16)
        assert not mx.any(mx.isfinite(kernel(x))).item()


def test_rows_that_change_in_place_are_seen(runtime: Runtime) -> None:
    """Layers that share rows share their preparation, but never that of other numbers."""
    kernel = _quantized(runtime, 8, 64, mx.bfloat16)
    x = _rows(mx.bfloat16)
    first = kernel(x)
    x += 1
    assert mx.array_equal(kernel(x), kernel(_rows(mx.bfloat16) + 1)).item()
    assert mx.array_equal(kernel(_rows(mx.bfloat16)), first).item()
    x[:, 0] = 3
    fresh = _rows(mx.bfloat16) + 1
    fresh[:, 0] = 3
    assert mx.array_equal(kernel(x), kernel(mx.array(fresh.tolist(), mx.bfloat16))).item()


def test_any_shape_and_layout_of_rows(runtime: Runtime) -> None:
    """Models hand over three axes, and sometimes views."""
    kernel = _quantized(runtime, 8, 32, mx.float32)
    x = _rows(mx.float32, 6)
    flat = kernel(x)
    assert mx.array_equal(kernel(x.reshape(2, 3, DEPTH)), flat.reshape(2, 3, OUTPUTS)).item()
    turned = mx.contiguous(x.T).T
    assert mx.array_equal(kernel(turned), flat).item()
    assert mx.array_equal(kernel(mx.concatenate([x, x])[::2]), kernel(mx.concatenate([x, x]))[::2])


def test_what_is_not_covered_is_left_to_mlx(runtime: Runtime) -> None:
    """Odd depths have no whole vectors."""
    assert linear.plain(runtime, mx.zeros((4096, 1001))) is None
    assert linear.plain(runtime, mx.zeros((1024, 1024), mx.int32)) is None
    assert linear.quantized(runtime, _packed(4, 64, mx.float32), 4, 16) is None
