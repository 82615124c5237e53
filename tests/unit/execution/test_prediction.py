"""The predicted rate is that of a pipeline that really runs: here, event by event."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.execution.devices import KINDS, bandwidth_of, usable_bytes
from daemon.execution.placement import Device, place
from daemon.execution.prediction import Prediction, predict
from tests.unit.execution.test_placement import GIB, card

if TYPE_CHECKING:
    from daemon.execution.model_card import ModelCard

ROUNDS = 60


def simulate(prediction: Prediction, hop_s: float) -> float:
    """Tokens per second of groups that go round and round, each stage serving one at a time."""
    stages, groups = prediction.stage_s, min(len(prediction.stage_s), prediction.streams)
    hop_s = hop_s if len(stages) > 1 else 0.0
    free_s = [0.0] * len(stages)
    arrives_s = [0.0] * groups
    finished_s: list[float] = []
    for _ in range(ROUNDS):
        for group in range(groups):
            at_s = arrives_s[group]
            for stage, needs_s in enumerate(stages):
                at_s = max(at_s, free_s[stage]) + needs_s
                free_s[stage] = at_s
                at_s += hop_s
            arrives_s[group] = at_s
            finished_s.append(at_s)
    half = len(finished_s) // 2
    per_group = prediction.streams / groups
    return per_group * (len(finished_s) - half) / (finished_s[-1] - finished_s[half - 1])


def _check(model: ModelCard, devices: list[Device], streams: int, hop_s: float) -> None:
    ranges = place(model, [d.memory_bytes for d in devices], [d.speed for d in devices])
    prediction = predict(model, ranges, devices, streams=streams, context_tokens=1000, hop_s=hop_s)
    assert simulate(prediction, hop_s) == pytest.approx(prediction.tokens_per_s, rel=0.05)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_prediction_is_what_a_simulation_shows(data: st.DataObject) -> None:
    """Any layers, any devices, any number of streams."""
    world = data.draw(st.integers(1, 6))
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=world, max_size=12))
    model = card(sizes, kv_token_bytes=(1,) * len(sizes), head_bytes=data.draw(st.integers(0, 40)))
    speed = st.sampled_from([100.0, 200.0, 500.0])
    devices = [Device(1 << 40, data.draw(speed)) for _ in range(world)]
    streams = world * data.draw(st.integers(1, 4)) if data.draw(st.booleans()) else 1
    _check(model, devices, streams, data.draw(st.sampled_from([0.0, 0.01, 1.0])))


@pytest.mark.parametrize("world", [1, 2, 8, 32, 64])
@pytest.mark.parametrize("streams_per_rank", [0, 1, 4])
def test_clusters_to_64_ranks_and_480_layers(world: int, streams_per_rank: int) -> None:
    """Unequal machines; one stream, and every stage busy."""
    model = card(
        [GIB + index for index in range(480)],
        head_bytes=GIB,
        embed_bytes=GIB,
        kv_token_bytes=(4096,) * 480,
    )
    devices = [
        Device(2048 // world * (1 + rank % 3) * GIB, (1 + rank % 2) * 100e9)
        for rank in range(world)
    ]
    _check(model, devices, max(1, world * streams_per_rank), 0.0005)


def test_one_stream_waits_for_every_stage_and_many_only_for_the_slowest() -> None:
    """The reason for more streams than one."""
    model = card([100] * 8)
    devices = [Device(1 << 40, 100.0)] * 4
    ranges = place(model, [1 << 40] * 4)
    alone = predict(model, ranges, devices, hop_s=0.5)
    assert alone.tokens_per_s == pytest.approx(1 / (8 + 4 * 0.5))
    busy = predict(model, ranges, devices, streams=8, hop_s=0.0)
    assert busy.tokens_per_s == pytest.approx(8 / (4 * 2))


def test_context_and_compute_slow_a_step_down() -> None:
    """Each row reads its own context; with many rows the compute is the limit."""
    model = card([100] * 2, kv_token_bytes=(1, 1), weight_bits=8)
    device = Device(1 << 40, 100.0)
    short, long = (
        predict(model, [(0, 2)], [device], context_tokens=context) for context in (0, 100)
    )
    assert (short.stage_s[0], long.stage_s[0]) == (pytest.approx(2.0), pytest.approx(4.0))
    weak = Device(1 << 40, 100.0, flops=100.0)
    assert predict(model, [(0, 2)], [weak], streams=4).stage_s[0] == pytest.approx(
        2 * 4 * 200 / 100
    )


def test_known_kinds_are_found_by_what_the_device_says() -> None:
    """As MLX gives the name on a Mac; and a Linux machine is not known."""
    assert bandwidth_of("Apple M4 Pro") == KINDS["M4 Pro"].bandwidth_gb_s
    assert bandwidth_of("Intel(R) Xeon(R) Processor") == 0.0
    assert math.isclose(usable_bytes(16), 16 * GIB * 2 / 3, rel_tol=1e-6)
    assert usable_bytes(64) == 48 * GIB
