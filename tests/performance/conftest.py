"""A running cluster to measure, and what its streams got."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlxconsole.bench.streams import Measured, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.running_cluster import RunningCluster


@pytest.fixture(scope="session")
def timed_streams(cluster: RunningCluster) -> Callable[[int, int], Measured]:
    """So many streams of so many tokens on two ranks of the demo model, warmed up."""
    measure(cluster.api_port, "demo", 2, 16)
    return lambda streams, tokens: measure(cluster.api_port, "demo", streams, tokens)
