"""Memory that kernels write to and read from, as addresses."""

from __future__ import annotations

import ctypes

import mlx.core as mx
import numpy as np
import pytest

from daemon.execution.cpu.arrays import (
    LINE,
    NotEvaluated,
    Output,
    View,
    is_contiguous,
    items_at,
    numbers,
)


def test_output_has_room_for_what_was_asked_for() -> None:
    """Also where a little more is asked for than before: machine code checks no bounds."""
    for first in range(0, 2000, 37):
        output = Output()
        for size in range(first, first + 2 * LINE + 1):
            place = output.reserve(size)
            memory = output._memory  # pyright: ignore[reportPrivateUsage] - only it knows the end
            start = ctypes.addressof(memory)
            assert place % LINE == 0
            assert start <= place <= place + size <= start + len(memory)


def test_inside_a_traced_function_nothing_has_a_value() -> None:
    """Kernels then leave the work to MLX."""

    def look(array: mx.array) -> mx.array:
        with pytest.raises(NotEvaluated, match="not allowed"):
            View(array)
        with pytest.raises(NotEvaluated, match="not allowed"):
            numbers(array)
        return array + 1

    assert mx.compile(look)(mx.array([1, 2])).tolist() == [2, 3]


def test_numbers_of_any_layout() -> None:
    """Indices are often the last columns of a larger array."""
    table = mx.arange(12, dtype=mx.uint32).reshape(3, 4)
    assert numbers(table[:, 2:]).tolist() == [[2, 3], [6, 7], [10, 11]]
    assert numbers(table.T).dtype == np.int64


def test_layouts_are_told_apart() -> None:
    """A slice of whole rows lies without gaps; a turned array does not."""
    table = mx.arange(12).reshape(3, 4)
    for array in (table, table[1:], table[:1, :2], mx.array(3), table.reshape(2, 6)):
        assert is_contiguous(array)
    for array in (table.T, table[:, :2], table[::2]):
        assert not is_contiguous(array)


def test_items_are_moved_whole() -> None:
    """Whatever their bytes mean."""
    table = mx.arange(6, dtype=mx.int32).reshape(3, 2)
    with View(table) as view:
        items = items_at(view.address, 3, 8)[[2, 0]]
    assert np.frombuffer(items.tobytes(), np.int32).tolist() == [4, 5, 0, 1]
