"""The attention kernel: what MLX gives, and for each query the same bits in any company."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.base import create_causal_mask

from daemon.execution.cpu.attention import Attention
from daemon.execution.cpu.runtime import Runtime

if TYPE_CHECKING:
    from daemon.execution.cpu.machine import Machine

SCALE = 0.17
ROUNDING = {mx.float32: 1e-5, mx.bfloat16: 2e-2, mx.float16: 3e-3}
DTYPES = list(ROUNDING)


@pytest.fixture(scope="module")
def attention(code: Machine) -> Attention:
    """One thread."""
    return Attention(Runtime(code=code))


def _inputs(
    dtype: mx.Dtype, batch: int, heads: tuple[int, int], length: int, keys: int, depth: int = 32
) -> tuple[mx.array, mx.array, mx.array]:
    """Queries as models turn them, keys and values as views into a larger cache."""

    def random(seed: int, *shape: int) -> mx.array:
        return mx.random.normal(shape, key=mx.random.key(seed)).astype(dtype)

    q = random(1, batch, length, heads[0], depth).transpose(0, 2, 1, 3)
    k, v = (random(seed, batch, heads[1], keys + 40, depth)[..., :keys, :] for seed in (2, 3))
    return q, k, v


def _own(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | str | None) -> mx.array:
    return mx.fast.scaled_dot_product_attention(q, k, v, scale=SCALE, mask=mask)


def _assert_close(ours: mx.array, own: mx.array) -> None:
    assert (ours.shape, ours.dtype) == (own.shape, own.dtype)
    numbers = (np.array(array.astype(mx.float32)) for array in (ours, own))
    np.testing.assert_allclose(*numbers, atol=ROUNDING[own.dtype], rtol=ROUNDING[own.dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (5, 1)])
@pytest.mark.parametrize(("length", "mask"), [(1, None), (7, None), (7, "causal"), (1, "causal")])
def test_it_is_mlx_s(
    attention: Attention, dtype: mx.Dtype, heads: tuple[int, int], length: int, mask: str | None
) -> None:
    """Decoding and prompts, with shared keys, in a batch."""
    q, k, v = _inputs(dtype, 2, heads, length, 50)
    assert attention.accepts(q, k, v, mask)
    _assert_close(attention(q, k, v, SCALE, mask), _own(q, k, v, mask))


def test_windows_padding_and_added_masks(attention: Attention) -> None:
    """Masks that are arrays: a sliding window, the left padding of a batch, numbers to add."""
    q, k, v = _inputs(mx.float32, 3, (4, 2), 6, 40)
    window = create_causal_mask(6, 34, window_size=9)
    padded = create_causal_mask(6, 34, left_padding=mx.array([0, 20, 33]))
    added = mx.random.normal((3, 1, 6, 40), key=mx.random.key(7))
    for mask in (window, padded, added, added.astype(mx.bfloat16)):
        assert attention.accepts(q, k, v, mask)
        own = mask if mask.dtype == mx.bool_ else mask.astype(mx.float32)
        _assert_close(attention(q, k, v, SCALE, mask), _own(q, k, v, own))


def test_a_query_that_may_see_nothing_is_a_number(attention: Attention) -> None:
    """Padding is such a query; what is no number would spread through the next layer's keys."""
    q, k, v = _inputs(mx.float32, 1, (2, 2), 3, 20)
    out = attention(q, k, v, SCALE, mx.zeros((3, 20), mx.bool_))
    assert mx.all(mx.isfinite(out)).item()


def test_a_query_gives_the_same_bits_with_its_prompt_and_alone(attention: Attention) -> None:
    """So recovery, chunks and prefix caches change no character."""
    for dtype in DTYPES:
        q, k, v = _inputs(dtype, 1, (6, 2), 30, 45)
        whole = attention(q, k, v, SCALE, "causal")
        window = attention(q, k, v, SCALE, create_causal_mask(30, 15))
        assert mx.array_equal(whole, window).item()
        for at in (0, 1, 14, 29):
            seen = 15 + at + 1
            alone = attention(q[:, :, at : at + 1], k[..., :seen, :], v[..., :seen, :], SCALE, None)
            assert mx.array_equal(alone, whole[:, :, at : at + 1]).item()


def test_padding_changes_no_bit(attention: Attention) -> None:
    """Sequences of a batch are padded on the left to the longest."""
    q, k, v = _inputs(mx.bfloat16, 3, (4, 2), 1, 60)
    padding = [0, 17, 42]
    mask = create_causal_mask(1, 59, left_padding=mx.array(padding))
    together = attention(q, k, v, SCALE, mask)
    for row, pad in enumerate(padding):
        one = slice(row, row + 1)
        alone = attention(q[one], k[one, :, pad:], v[one, :, pad:], SCALE, None)
        assert mx.array_equal(alone, together[one]).item()


def test_threads_change_no_bit(attention: Attention, code: Machine) -> None:
    """Each query is one thread's."""
    q, k, v = _inputs(mx.float32, 2, (8, 2), 20, 200, 64)
    several = Attention(Runtime(threads=3, code=code))
    for _ in range(10):
        ours = several(q, k, v, SCALE, "causal")
        assert mx.array_equal(ours, attention(q, k, v, SCALE, "causal")).item()


def test_what_is_not_covered_is_left_to_mlx(attention: Attention) -> None:
    """Odd depths and mixed formats."""
    q, k, v = _inputs(mx.float32, 1, (2, 2), 1, 9, 20)
    assert not attention.accepts(q, k, v, None)
    q, k, v = _inputs(mx.float32, 1, (2, 2), 1, 9)
    assert not attention.accepts(q, k.astype(mx.float16), v, None)
    assert not attention.accepts(q, k, v, "diagonal")
