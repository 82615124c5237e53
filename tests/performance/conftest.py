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


def pytest_configure(config: pytest.Config) -> None:
    """`--benchmark-only` means all of them: also those that the default `-m` leaves to quiet hours.

    The default stands in pyproject's addopts; whoever writes an `-m` keeps it.
    """
    default = "not slow and not benchmark"
    if config.getoption("benchmark_only") and config.option.markexpr == default:
        config.option.markexpr = "not slow"


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
