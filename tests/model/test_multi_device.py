"""One device, and unequal devices: the same tokens wherever the layers live."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from daemon.execution.card import inspect
from daemon.execution.placement import USABLE, Device, forecast, place
from daemon.execution.skeleton import open_skeleton
from daemon.execution.stage import Stage
from tests.support import random_models, staged
from tests.support.running_cluster import RunningCluster, start_cluster
from tests.support.servable_model import write_servable_model
from tests.support.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
# Proportions of Apple's machines: memory of 16 to 128 GB, here in MiB; bandwidth in GB/s.
M4 = Device(16 * MIB, 120e9)
M4_PRO = Device(48 * MIB, 273e9)
M4_MAX = Device(128 * MIB, 546e9)
PROMPT = staged.random_prompt(20, 512)
COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 24 layers."""
    config = random_models.QWEN3 | {"num_hidden_layers": 24}
    return random_models.write_model(tmp_path_factory.mktemp("model"), config)


def test_single_device_fallback(folder: Path) -> None:
    """A world of one is a single stage that is not cut at all."""
    card = inspect(folder)
    ranges = place(card, [M4_MAX.memory_bytes])
    assert ranges == ((0, 24),)
    stage = Stage(open_skeleton(folder), *ranges[0])
    assert (stage.is_first, stage.is_last, stage.weight_bytes) == (True, True, card.whole_bytes)
    executors = staged.load_executors(folder, ranges)
    tokens = [out.token for out in staged.generate(executors, PROMPT, COUNT)]
    assert tokens == staged.reference(folder, PROMPT, COUNT)


@pytest.mark.parametrize(
    "devices",
    [[M4, M4_MAX], [M4_MAX, M4], [M4, M4_PRO, M4_MAX], [M4_PRO, M4, M4, M4_MAX]],
    ids=["small first", "small last", "three kinds", "two small in the middle"],
)
def test_heterogeneous_devices(devices: list[Device], folder: Path) -> None:
    """Faster devices get more layers, none more than it can hold, and the tokens stay the same."""
    card = inspect(folder)
    limits = [device.memory_bytes for device in devices]
    ranges = place(card, limits, [device.speed for device in devices])
    rows = forecast(card, ranges, devices)
    by_speed = sorted(zip(devices, ranges, strict=True), key=lambda pair: pair[0].speed)
    sizes = [hi - lo for _, (lo, hi) in by_speed]
    assert sizes == sorted(sizes)
    for row, device in zip(rows, devices, strict=True):
        assert row.weights_bytes <= device.memory_bytes * USABLE
    # An even split would wait for the slowest device; this one waits less.
    even = forecast(card, staged.even_ranges(24, len(devices)), devices)
    assert max(row.token_s for row in rows) < max(row.token_s for row in even)
    executors = staged.load_executors(folder, ranges)
    tokens = [out.token for out in staged.generate(executors, PROMPT, COUNT)]
    assert tokens == staged.reference(folder, PROMPT, COUNT)


@pytest.fixture(scope="module")
def mortal_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Two ranks that a test may kill."""
    model = write_servable_model(tmp_path_factory.mktemp("servable"))
    running = start_cluster(tmp_path_factory.mktemp("mortal"), model=str(model))
    yield running
    assert running.down().returncode == 0


@pytest.mark.integration
@pytest.mark.parametrize("victim", [1, 0])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_device_failure_recovery(
    mortal_cluster: RunningCluster, victim: int, temperature: float
) -> None:
    """SIGKILL of any rank in the middle of four answers changes no character of them."""
    prompts = ["one", "the second prompt", "three " * 40, "a fourth one"]
    undisturbed = Streams(mortal_cluster, prompts, temperature=temperature).run()
    before = mortal_cluster.once()["ranks"][victim]
    disturbed = Streams(
        mortal_cluster,
        prompts,
        temperature=temperature,
        at_event=40,
        on_event=lambda: os.kill(before["pid"], signal.SIGKILL),
    ).run()
    assert [(a.text, a.finish_reason) for a in disturbed] == [
        (a.text, a.finish_reason) for a in undisturbed
    ]
    after = mortal_cluster.once()["ranks"][victim]
    assert after["generation"] == before["generation"] + 1
    assert after["restarts"] == before["restarts"] + 1
    assert any(len(a.text) > 20 for a in undisturbed)
