"""The console on a real cluster under load: a killed rank shows at once, `R` brings a fresh one."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from mlxconsole.cluster import Cluster, Member
from mlxconsole.source.live import LiveSource
from mlxconsole.ui.app import ConsoleApp
from tests.support.console_pilot import Console
from tests.support.load import loaded
from tests.support.running_cluster import start_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration
VICTIM = 1
VICTIMS_LINE = 4
"""Of the screen, below header, pages, titles and rank 0."""
SHOWN_WITHIN_S = 4.0
"""The bar is 1 s, and the figure is printed; a machine that does other things, too, gets more."""
BACK_WITHIN_S = 60.0


@pytest.fixture
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Not the shared one: its rank is killed."""
    running = start_cluster(tmp_path_factory.mktemp("live-console"))
    yield running
    assert running.down().returncode == 0


def app_on(cluster: RunningCluster) -> ConsoleApp:
    """The console as the command builds it, with the live source."""
    members = tuple(
        Member(rank, "127.0.0.1", cluster.data_port + rank, cluster.control_port + rank)
        for rank in range(cluster.ranks)
    )
    url = f"http://127.0.0.1:{cluster.api_port}"
    return ConsoleApp(LiveSource(Cluster("live", cluster.model, url, members)))


async def test_kill_a_rank_under_load_restart_it_and_see_tokens_flow(
    own_cluster: RunningCluster,
) -> None:
    """The operator's main job; no request of the load may fail."""
    app = app_on(own_cluster)
    with loaded(own_cluster):
        async with app.run_test(size=(120, 40), notifications=True) as pilot:
            running, victim = Console(app, pilot), app.store.ranks[VICTIM]

            def flows() -> bool:
                return (app.store.tokens_per_s(app.store.clock()) or 0.0) > 0

            def is_ready_as(generation: int) -> bool:
                status = victim.status
                return (
                    status is not None
                    and status.generation == generation
                    and app.store.ready_count() == own_cluster.ranks
                )

            await running.until(lambda: is_ready_as(1) and flows(), BACK_WITHIN_S)
            assert victim.status is not None
            killed_s = time.monotonic()
            os.kill(victim.status.worker_pid, signal.SIGKILL)
            await running.until(lambda: "killed by signal 9" in running.lines()[VICTIMS_LINE])
            shown_s = time.monotonic() - killed_s
            # The figure, shown with -s.
            print(f"killed rank on the screen, with its cause, after {shown_s:.2f} s")  # noqa: T201
            assert shown_s < SHOWN_WITHIN_S
            # It may be READY again by now: with a warm spare that takes less than a look.
            await running.until(lambda: is_ready_as(2), BACK_WITHIN_S)

            await pilot.press("j", "R")
            await running.shows("Restart rank 1 (generation 2)?")
            await pilot.press("tab", "enter")
            await running.until(lambda: is_ready_as(3), BACK_WITHIN_S)
            await running.until(flows, BACK_WITHIN_S)
            await running.shows("2/2 READY")
            await running.until(lambda: len(app.store.requests.rows) > 0)
            assert {row.client for row in app.store.requests.rows} == {"127.0.0.1"}
            await running.until(lambda: (victim.figures.telemetry or 0.0) > 0)
            # The bar is 0.5 %; just after a start there is more to tell.
            print(f"telemetry takes {victim.figures.telemetry or 0:.2%} of a rank's time")  # noqa: T201
            await pilot.press("6")
            await running.shows("killed by signal 9")
