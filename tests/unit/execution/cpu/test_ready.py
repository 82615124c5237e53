"""Rows made ready for the kernels: nothing of what lay in memory before takes part."""

from __future__ import annotations

import ctypes

import mlx.core as mx
import numpy as np
import pytest

from daemon.execution.cpu.amx_ir import TILE_ROWS
from daemon.execution.cpu.arrays import Output, contiguous
from daemon.execution.cpu.digits_ir import DIGITS
from daemon.execution.cpu.machine import Machine
from daemon.execution.cpu.ready import digits
from daemon.execution.cpu.runtime import Runtime

DEPTH, GROUP, ROWS = 256, 64, 3
SMALL = 0x00000001
"""As a float32: a number so small that a processor takes 100 times as long to add it."""


def test_rows_that_are_not_there_are_zero() -> None:
    """Two streams took four times as long as sixteen: their tiles added left-over numbers."""
    code = Machine()
    if not code.has_tiles:
        pytest.skip("this processor has no tile registers")
    runtime, memory = Runtime(code=code), Output()
    form = digits("float32", GROUP, TILE_ROWS)
    size = form.size(ROWS, DEPTH)
    place = memory.reserve(size)
    left = np.ctypeslib.as_array((ctypes.c_uint32 * (size // 4)).from_address(place))
    left[:] = SMALL
    with contiguous(mx.random.normal((ROWS, DEPTH), key=mx.random.key(3))) as view:
        runtime.run(*form.job(runtime, view.address, place, ROWS, DEPTH))
    after_digits = left[DIGITS * TILE_ROWS * DEPTH // 4 :].view(np.float32)
    factors_and_sums = after_digits.reshape(2 * DEPTH // GROUP, TILE_ROWS)
    assert np.all(factors_and_sums[:, :ROWS] != 0)
    assert np.all(factors_and_sums[:, ROWS:] == 0)
