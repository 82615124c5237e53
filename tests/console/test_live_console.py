"""The console on real supervisors, whose workers are fakes: what it shows is what happens."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from mlxconsole.cluster import Cluster
from mlxconsole.source.live import LiveSource
from mlxconsole.ui.app import ConsoleApp
from tests.support.console_pilot import Console
from tests.unit.supervision.harness import Daemon, make_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


async def test_kill_a_worker_see_it_down_restart_it_see_it_ready(tmp_path: Path) -> None:
    """The operator's main job, through the real control ports."""
    settings = make_settings(2, restart_backoff_s=300.0, restart_backoff_max_s=300.0)
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder in folders:
        folder.mkdir()
    async with (
        Daemon(folders[0], settings, rank=0, worker="obey") as first,
        Daemon(folders[1], settings, rank=1, worker="obey") as second,
    ):
        await first.until_ready()
        status = await second.until_ready()
        app = ConsoleApp(LiveSource(Cluster.from_settings(settings), 0.1, 0.2))
        async with app.run_test(size=(120, 30), notifications=True) as pilot:
            running = Console(app, pilot)
            await running.shows("2/2 READY")
            await running.shows("hello generation=1")

            os.kill(status.worker_pid, signal.SIGKILL)
            await running.shows("x DOWN")
            await running.shows("1/2 READY")

            await pilot.press("j", "R", "tab", "enter")
            await running.shows("2/2 READY")
            view = app.store.ranks[1]
            assert view.status is not None
            assert view.status.generation == 2

            await first.client.shutdown()
            await running.shows("1/2 reached")
            await running.shows("? DOWN")
            await running.until(lambda: "no daemon answers" in app.store.ranks[0].reason)


async def test_a_supervisor_that_comes_back_is_found_again(tmp_path: Path) -> None:
    """Without a key press, and without its history twice."""
    settings = make_settings(1)
    app = ConsoleApp(LiveSource(Cluster.from_settings(settings), 0.1, 0.2))
    async with app.run_test(size=(120, 30)) as pilot:
        running = Console(app, pilot)
        await running.shows("no contact: no daemon answers")
        for life in ("first", "second"):
            folder = tmp_path / life
            folder.mkdir()
            async with Daemon(folder, settings, worker="obey"):
                await running.shows("1/1 READY")
            await running.shows("0/1 READY")
