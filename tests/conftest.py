"""Fixtures that every test may use. The cluster is real: processes, gRPC, the demo model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.running_cluster import RunningCluster, start_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

# Clusters that `up` starts for other tests do without: starting spares takes seconds of two cores.
os.environ.setdefault("MLXCONSOLE_LIMITS_WARM_SPARE", "false")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Two ranks with the demo model, shared by all tests that only send requests."""
    running = start_cluster(tmp_path_factory.mktemp("cluster"))
    yield running
    done = running.down()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
