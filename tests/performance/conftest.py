"""What performance tests measure: a real two-rank cluster, and an engine in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlxconsole.bench.streams import Measured, measure
from tests.support import random_models
from tests.support.local_engine import LocalEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.running_cluster import RunningCluster


@pytest.fixture(scope="session")
def timed_streams(cluster: RunningCluster) -> Callable[[int, int], Measured]:
    """So many streams of so many tokens on two ranks of the demo model, warmed up."""
    measure(cluster.api_port, "demo", 2, 16)
    return lambda streams, tokens: measure(cluster.api_port, "demo", streams, tokens)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random dense model of 8 layers."""
    return random_models.write_model(tmp_path_factory.mktemp("small"), random_models.QWEN3)


@pytest.fixture
def make_engine(small_model: Path) -> Callable[..., LocalEngine]:
    """A maker of engines over it."""
    return lambda **settings: LocalEngine(small_model, **settings)
