"""Indices as calls: every pair of row and expert once, together as far as may be."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from daemon.execution.cpu.arrays import Output, View, items_at
from daemon.execution.cpu.routes import Call, Routes, route


@pytest.mark.parametrize("most_rows", [1, 3, 96])
@pytest.mark.parametrize("count", [1, 2, 7, 40, 300])
def test_every_index_is_in_one_call_of_its_expert(count: int, most_rows: int) -> None:
    """In the order of experts, so that weights are read once; never too many rows."""
    chance = np.random.default_rng(count)
    rows, experts = chance.integers(0, 50, count), chance.integers(0, 9, count)
    routes = Routes.of(rows, experts, most_rows)
    order = np.arange(count) if routes.order is None else routes.order
    assert sorted(order.tolist()) == list(range(count))
    assert routes.sources.tolist() == rows[order].tolist()
    place = 0
    for call in routes.calls:
        assert call.first == place
        assert 1 <= call.rows <= most_rows
        place += call.rows
        assert set(experts[order[call.first : place]]) == {call.expert}
    assert place == count
    fewest = sum(-(-n // most_rows) for n in np.unique(experts, return_counts=True)[1])
    assert len(routes.calls) == fewest


def test_who_is_alone_stays_where_it_is() -> None:
    """A single token has experts of its own: nothing is sorted, gathered or put back."""
    routes = Routes.of(np.zeros(3, np.int64), np.array([5, 2, 9]), 96)
    assert routes.order is None
    assert routes.calls == [Call(5, 0, 1), Call(2, 1, 1), Call(9, 2, 1)]
    memory = Output()
    with View(mx.zeros((1, 4))) as view:
        assert routes.gather(view, 1, 16, memory) == [view.address] * 3
    assert routes.put_back(77, 16, memory) == 77


def test_rows_are_gathered_and_results_put_back() -> None:
    """Whole rows, whatever they hold."""
    routes = Routes.of(np.array([0, 0, 1, 1, 2]), np.array([4, 1, 4, 0, 1]), 96)
    x = mx.arange(12, dtype=mx.int32).reshape(3, 4)
    gathered, back = Output(), Output()
    with View(x) as view:
        places = routes.gather(view, 3, 16, gathered)
    base = places[0]
    assert [place - base for place in places] == [16 * call.first for call in routes.calls]
    found = np.frombuffer(items_at(base, 5, 16).tobytes(), np.int32).reshape(5, 4)
    assert found.tolist() == np.array(x)[[1, 0, 2, 0, 1]].tolist()
    target = routes.put_back(base, 16, back)
    returned = np.frombuffer(items_at(target, 5, 16).tobytes(), np.int32).reshape(5, 4)
    assert returned.tolist() == np.array(x)[[0, 0, 1, 1, 2]].tolist()


def test_rows_and_indices_are_broadcast() -> None:
    """A token is one row and several indices; behind gate and up each index has its row."""
    indices = mx.array([[[3, 1], [1, 0]]])
    routes, shape = route(indices, (1, 2, 1), 4, 96)
    assert shape == (1, 2, 2)
    assert routes.sources.tolist() == [1, 0, 1, 0]
    routes, shape = route(indices, (1, 2, 2), 4, 96)
    assert shape == (1, 2, 2)
    assert routes.sources.tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize("wrong", [-1, 4])
def test_an_expert_that_is_not_there_is_an_error(wrong: int) -> None:
    """Machine code would read whatever lies there."""
    with pytest.raises(IndexError, match=r"there are 4"):
        route(mx.array([1, wrong]), (1,), 4, 96)
