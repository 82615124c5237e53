"""When a start gives up, and what it shows while it waits: pure parts of `up`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from daemon.errors import StartFailed
from mlxconsole import cli
from mlxconsole.commands.up import chosen_settings, interruptible
from mlxconsole.local.daemons import Daemon
from mlxconsole.local.progress import Progress
from mlxconsole.local.start import Start, parts, raise_if_hopeless, waiting_for
from mlxconsole.local.state_dir import StateDir
from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.store import Store
from protos.control_pb2 import RankState

if TYPE_CHECKING:
    from pathlib import Path

    from mlxconsole.cluster import Cluster
    from protos.control_pb2 import RankStatus


def store_of(*statuses: RankStatus, now_s: float = 0.0) -> Store:
    """A store that has seen one status per rank at second 0, looked at later."""
    store = Store(seeded.cluster(len(statuses)), clock=lambda: now_s)
    for rank, status in enumerate(statuses):
        store.apply(FrameArrived(rank, seeded.frame(status), 0.0))
    return store


def failed(cause: str) -> RankStatus:
    """A rank that no restart will help."""
    status = seeded.down(1, 2, cause)
    status.state = RankState.FAILED
    return status


def test_a_failed_rank_ends_the_start_with_its_reason() -> None:
    """The reason may come a moment after the state; after that moment nobody waits for it."""
    with pytest.raises(StartFailed, match="rank 1 failed: no such model"):
        raise_if_hopeless(store_of(seeded.status(0, 2), failed("no such model")), [])
    raise_if_hopeless(store_of(seeded.status(0, 2), failed("")), [])
    with pytest.raises(StartFailed, match="rank 1 failed: no reason given"):
        raise_if_hopeless(store_of(seeded.status(0, 2), failed(""), now_s=4.0), [])


def test_a_failed_api_ends_the_start() -> None:
    """Ranks alone serve nobody."""
    first = seeded.status(0, 1)
    first.api.state, first.api.exit_cause = RankState.FAILED, "no template"
    with pytest.raises(StartFailed, match="the API process failed: no template"):
        raise_if_hopeless(store_of(first), [])
    first.api.exit_cause = ""
    raise_if_hopeless(store_of(first), [])
    with pytest.raises(StartFailed, match="no reason given"):
        raise_if_hopeless(store_of(first, now_s=4.0), [])


def test_a_worker_that_is_started_again_is_waited_for() -> None:
    """DOWN is not FAILED: the supervisor is at it."""
    raise_if_hopeless(store_of(seeded.status(0, 2), seeded.down(1, 2, "exit code 1")), [])


def test_a_supervisor_that_ends_at_once_ends_the_start(tmp_path: Path) -> None:
    """Its last line is the reason."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    output = tmp_path / "out"
    output.write_text("mlx-daemon: can't write the log file\n")
    with pytest.raises(StartFailed, match="rank 0 ended at once: mlx-daemon: can't write"):
        raise_if_hopeless(store_of(), [Daemon(0, process, output)])


def test_a_start_that_waits_says_for_what() -> None:
    """Also when nobody can be reached at all."""
    store = store_of(seeded.status(0, 2), seeded.loading(1, 2, 3))
    assert waiting_for(store) == "rank 0 READY; rank 1 LOADING layers 3/14; api READY"
    store.apply(ContactLost(1, "no daemon answers at 127.0.0.1:50201", 1.0))
    assert waiting_for(store) == (
        "rank 0 READY; rank 1 STARTING; api READY; no daemon answers at 127.0.0.1:50201"
    )


def test_progress_names_layers_and_causes() -> None:
    """Which rank, which state, how far, and why not."""
    statuses = {1: seeded.loading(1, 4, 3), 2: seeded.down(2, 4, "exit code 1")}
    assert parts(seeded.cluster(4), statuses) == {
        "rank 0": "STARTING",
        "rank 1": "LOADING layers 3/7",
        "rank 2": "DOWN (exit code 1)",
        "rank 3": "STARTING",
        "api": "STARTING",
    }


async def _deaf(cancellations: int) -> None:
    """A task that has to be told more than once."""
    while cancellations:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancellations -= 1


class _Leaving(Start):
    """A start that fails and leaves a task behind."""

    async def run(self) -> Cluster:
        self.left = asyncio.create_task(_deaf(cancellations=4))
        await asyncio.sleep(0)
        raise StartFailed("no template")


def test_what_outlives_a_failed_start_does_not_keep_it(tmp_path: Path) -> None:
    """`asyncio.run` waits for every task, and asks it once to end."""
    settings = chosen_settings(cli.parser().parse_args(["up"]), {})
    start = _Leaving(settings, StateDir(tmp_path), Progress(sys.stderr), 1.0)
    with pytest.raises(StartFailed, match="no template"):
        asyncio.run(interruptible(start))
    assert start.left.done()
