"""`mlxconsole why` on a real cluster, one of whose workers is made slow from outside."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.load import loaded
from tests.support.running_cluster import mlxconsole

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.support.running_cluster import RunningCluster

STOPPED_S, RUNNING_S = 0.030, 0.010
"""A worker that is held three quarters of its time is four times as slow, and never silent."""

pytestmark = pytest.mark.integration


@contextmanager
def slowed(pid: int) -> Generator[None]:
    """Hold a process most of the time."""
    done = threading.Event()

    def hold() -> None:
        while not done.wait(RUNNING_S):
            os.kill(pid, signal.SIGSTOP)
            done.wait(STOPPED_S)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("slow", [0, 1])
def test_the_slow_rank_is_named_and_asked_to_give_layers(
    cluster: RunningCluster, slow: int
) -> None:
    """Though both wait for each other all the time; rank 0 decides the steps besides."""
    pid = cluster.once()["ranks"][slow]["pid"]
    state = ("--state-dir", str(cluster.state_dir))
    with slowed(pid), loaded(cluster):
        done = mlxconsole("why", "--json", "--seconds", "6", *state)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["culprit"]) == ("rank", slow), found
    assert (found["move"]["giver"], found["move"]["taker"]) == (slow, 1 - slow)
    assert found["move"]["tokens_per_s"] > found["tokens_per_s"]
    pace, other = found["ranks"][slow], found["ranks"][1 - slow]
    assert pace["compute_s"] > 1.5 * other["compute_s"]


def test_an_idle_cluster_is_not_called_slow(cluster: RunningCluster) -> None:
    """Exit code 1, so that scripts see that nothing was measured."""
    state = ("--state-dir", str(cluster.state_dir))
    done = mlxconsole("why", "--seconds", "4", *state)
    assert done.returncode == 1
    assert done.stdout.startswith("Nothing runs")
