"""Placement: legal, complete, within memory, and as fast as any other placement."""

from __future__ import annotations

import dataclasses
import re
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.errors import PlacementError
from daemon.execution.model_card import ModelCard
from daemon.execution.placement import USABLE, Device, forecast, place

GIB = 1 << 30
ROOMY = 1 << 50


def card(layers: list[int], **changes: Any) -> ModelCard:
    """A model with layers of these sizes, and nothing else unless given."""
    sizes = tuple(layers)
    plain = ModelCard(
        path=Path(),
        model_type="toy",
        fingerprint="0",
        n_layers=len(sizes),
        legal_cuts=tuple(range(1, len(sizes))),
        why=(),
        layer_bytes=sizes,
        layer_work_bytes=sizes,
        embed_bytes=0,
        head_bytes=0,
        shared_bytes=0,
        whole_bytes=sum(sizes),
        kv_token_bytes=(0,) * len(sizes),
        max_context=4096,
        vocab_size=100,
    )
    return dataclasses.replace(plain, **changes)


QWEN3_1_7B = card(
    [53_500_000] * 28,
    embed_bytes=330_000_000,
    head_bytes=330_000_000,
    whole_bytes=28 * 53_500_000 + 330_000_000,
    kv_token_bytes=(4096,) * 28,
)


def test_one_device_holds_everything() -> None:
    """World size 1 is a single stage."""
    assert place(QWEN3_1_7B, [16 * GIB]) == ((0, 28),)


def test_one_device_holds_everything_at_any_speed() -> None:
    """A bound that is a quotient of floats must not lock out the only placement there is."""
    for speed in range(1, 400):
        assert place(card([7] * 5, head_bytes=3), [ROOMY], [speed / 7]) == ((0, 5),)


def test_equal_devices_get_equal_shares() -> None:
    """With nothing but layers, their numbers differ by one at most."""
    for world in range(2, 29):
        sizes = [hi - lo for lo, hi in place(card([10] * 28), [ROOMY] * world)]
        assert max(sizes) - min(sizes) <= 1
    assert place(card([10] * 8), [ROOMY] * 4) == ((0, 2), (2, 4), (4, 6), (6, 8))


def test_the_head_counts_as_work_of_the_last_rank() -> None:
    """Its rank gets fewer layers, so that both stages take the same time per token."""
    ranges = place(QWEN3_1_7B, [16 * GIB] * 2)
    assert ranges == ((0, 17), (17, 28))
    first, last = forecast(QWEN3_1_7B, ranges, [Device(16 * GIB, 1e9)] * 2)
    assert first.token_s == pytest.approx(last.token_s, rel=0.02)


def test_experts_count_by_what_a_token_uses() -> None:
    """A mixture's bulk is memory, not time."""
    mixture = card([100] * 8, layer_work_bytes=(25,) * 8, head_bytes=100)
    assert place(mixture, [ROOMY] * 2) == ((0, 6), (6, 8))


def test_fewer_bits_are_offered_where_they_would_do() -> None:
    """And they do: half the bytes are placed where all were not."""
    model = card([GIB] * 10, weight_bits=8)
    limits = [4 * GIB] * 2
    with pytest.raises(PlacementError, match=r"5-bit weights \(these have 8\) would fit"):
        place(model, limits)
    place(card([GIB * 11 // 17] * 10), limits)
    with pytest.raises(PlacementError):
        place(card([GIB * 13 // 17] * 10), limits)


def test_more_ranks_are_offered_where_they_would_do() -> None:
    """The smallest number that does, of the last device's kind."""
    model = card([GIB] * 10)
    with pytest.raises(PlacementError, match="4 ranks would do") as caught:
        place(model, [4 * GIB, 4 * GIB])
    assert "the weights alone" in str(caught.value)
    place(model, [4 * GIB] * 4)


def test_memory_limits_are_kept() -> None:
    """A small device gets what fits, whatever its speed."""
    limit = int(5 * 100 / USABLE) + 1
    ranges = place(card([100] * 20), [limit, ROOMY], speeds=[10.0, 1.0])
    assert ranges == ((0, 5), (5, 20))


def test_fast_devices_get_more() -> None:
    """Layers in proportion to the speed."""
    assert place(card([10] * 30), [ROOMY] * 2, speeds=[2.0, 1.0]) == ((0, 20), (20, 30))


def test_kv_budget_takes_memory() -> None:
    """Context needs room on the rank that owns the layer."""
    model = card([100] * 4, kv_token_bytes=(10, 0, 0, 0))
    limits = [int(210 / USABLE) + 1, ROOMY]
    assert place(model, limits, kv_tokens=0)[0] == (0, 2)
    assert place(model, limits, kv_tokens=10)[0] == (0, 1)


def test_only_legal_cuts_are_used() -> None:
    """Layers that share a cache stay together."""
    ranges = place(card([10] * 8, legal_cuts=(1, 6)), [ROOMY] * 2)
    assert ranges == ((0, 6), (6, 8))


def test_more_ranks_than_parts_is_an_error() -> None:
    """The text says how many would do."""
    with pytest.raises(PlacementError, match="at most 2 parts, but there are 3 ranks"):
        place(card([10] * 8, legal_cuts=(4,)), [ROOMY] * 3)


def test_too_little_memory_says_how_much_is_missing() -> None:
    """Adding that much, spread as the devices are, makes it fit."""
    model = card([GIB] * 10)
    with pytest.raises(PlacementError, match="the weights alone") as caught:
        place(model, [4 * GIB] * 2)
    found = re.search(r"([\d,]+) bytes \(", str(caught.value))
    assert found
    missing = int(found[1].replace(",", ""))
    place(model, [4 * GIB + missing // 2 + 1] * 2)
    with pytest.raises(PlacementError):
        place(model, [4 * GIB + missing // 2 - 1000] * 2)


def test_too_much_context_says_how_much_would_fit() -> None:
    """The number given can be used."""
    model = card([GIB] * 4, kv_token_bytes=(1 << 20,) * 4)
    with pytest.raises(PlacementError) as caught:
        place(model, [3 * GIB] * 2, kv_tokens=4096)
    found = re.search(r"([\d,]+) tokens of context would fit", str(caught.value))
    assert found
    tokens = int(found[1].replace(",", ""))
    assert 300 < tokens < 400
    place(model, [3 * GIB] * 2, kv_tokens=tokens)
    with pytest.raises(PlacementError):
        place(model, [3 * GIB] * 2, kv_tokens=tokens + 2)


def test_forecast_tells_the_room_for_context() -> None:
    """What `mlxconsole plan` shows of machines that are not here."""
    devices = [Device(16 * GIB, 100e9), Device(24 * GIB, 120e9)]
    ranges = place(QWEN3_1_7B, [d.memory_bytes for d in devices], [d.speed for d in devices])
    rows = forecast(QWEN3_1_7B, ranges, devices)
    for row, device in zip(rows, devices, strict=True):
        used = row.weights_bytes + row.kv_capacity_tokens * 4096 * (row.hi - row.lo)
        assert 0 <= device.memory_bytes * USABLE - used <= 4096 * (row.hi - row.lo)
    assert 0.005 < max(row.token_s for row in rows) < 0.01


def test_big_clusters_can_be_planned() -> None:
    """480 layers on 64 unequal ranks: some seconds, where a search of all cuts would take ages."""
    model = card([GIB + index for index in range(480)], head_bytes=GIB, embed_bytes=GIB)
    limits = [(16 + 8 * (rank % 3)) * GIB for rank in range(64)]
    ranges = place(model, limits, speeds=[1.0 + rank % 2 for rank in range(64)])
    assert (ranges[0][0], ranges[-1][1], len(ranges)) == (0, 480, 64)


def _slowest(model: ModelCard, ranges: Any, speeds: list[float]) -> float:
    devices = [Device(ROOMY, speed) for speed in speeds]
    return max(row.token_s for row in forecast(model, ranges, devices))


def _fits(model: ModelCard, ranges: Any, limits: list[int]) -> bool:
    rows = forecast(model, ranges, [Device(limit) for limit in limits])
    used = zip(rows, limits, strict=True)
    return all(row.weights_bytes <= limit * USABLE for row, limit in used)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_legal_placement_is_faster(data: st.DataObject) -> None:
    """Against every placement there is, for small models and unequal devices."""
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=2, max_size=8))
    inner = range(1, len(sizes))
    cuts = sorted(data.draw(st.sets(st.sampled_from(inner), min_size=1)))
    world = data.draw(st.integers(2, len(cuts) + 1))
    model = card(
        sizes,
        legal_cuts=tuple(cuts),
        embed_bytes=data.draw(st.integers(0, 30)),
        head_bytes=data.draw(st.integers(0, 30)),
        shared_bytes=data.draw(st.integers(0, 10)),
    )
    speeds = data.draw(st.lists(st.sampled_from([1.0, 2.0, 3.5]), min_size=world, max_size=world))
    limits = data.draw(st.lists(st.integers(10, 300), min_size=world, max_size=world))
    candidates = [
        tuple(pairwise([0, *chosen, len(sizes)])) for chosen in combinations(cuts, world - 1)
    ]
    possible = [ranges for ranges in candidates if _fits(model, ranges, limits)]
    if not possible:
        with pytest.raises(PlacementError, match="bytes"):
            place(model, limits, speeds)
        return
    ranges = place(model, limits, speeds)
    assert ranges in possible
    best = min(_slowest(model, other, speeds) for other in possible)
    assert _slowest(model, ranges, speeds) == pytest.approx(best, rel=1e-9)
