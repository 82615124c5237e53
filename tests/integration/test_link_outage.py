"""A served cluster whose network goes down: two ranks in network namespaces, and a client at one.

Linux and root only. The same through a proxy, without rights: `test_failures.py` (`STALL_LINK`,
`LOSE_LINK`). Here packets are lost, and nobody is told that the cable is out.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from daemon.settings import ClusterPart, RankPart, Settings
from daemon.settings_check import check
from daemon.settings_text import to_toml
from mlxconsole.chaos.requests import Answer, ask, bodies
from mlxconsole.local.daemons import DAEMON_COMMAND
from tests.support.namespaces import HOSTS, Cable, cable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]
LIMIT_S = 90.0
BODIES = bodies("demo")[:8]
API_PORT = 8100  # of the namespace's own loopback
MID_DECODE = 60  # events of all streams together


class Cluster:
    """Two supervisors, one at each end of a cable, and clients at rank 0's."""

    def __init__(self, folder: Path, link: Cable) -> None:
        self.link = link
        self._logs = [folder / f"rank-{rank}.log" for rank in range(2)]
        settings = Settings(
            cluster=ClusterPart(name=f"outage-{folder.name}", insecure=True),
            ranks=tuple(RankPart(host, 50100, 50200) for host in HOSTS),
        )
        config = folder / "cluster.toml"
        config.write_text(to_toml(check(settings)), encoding="utf-8")
        where = ("--config", str(config), "--state-dir", str(folder))
        self._daemons = [
            subprocess.Popen(
                [*link.command(rank), *DAEMON_COMMAND, "--rank", str(rank), *where],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for rank in range(2)
        ]
        self._clients = ThreadPoolExecutor(len(BODIES), initializer=link.enter, initargs=(0,))

    def close(self) -> None:
        """End everything."""
        self._clients.shutdown()
        for daemon in self._daemons:
            daemon.terminate()
        for daemon in self._daemons:
            daemon.wait(LIMIT_S)

    def told(self, rank: int, kind: str) -> list[str]:
        """What a rank's log says of one kind of event."""
        lines = self._logs[rank].read_text(encoding="utf-8").splitlines()
        return [line for line in lines if f" {kind} " in line or f" {kind}:" in line]

    def wait_ready(self) -> None:
        """Wait until an answer comes."""
        deadline_s = time.monotonic() + LIMIT_S
        short = BODIES[0] | {"max_tokens": 1}
        while self._clients.submit(ask, API_PORT, short, lambda: None).result().error:
            assert time.monotonic() < deadline_s, "the cluster does not come up"
            time.sleep(0.2)

    def ask_all(self, outage_s: float = 0.0) -> list[Answer]:
        """All answers; with an outage, the cable is out for so long in the middle of them."""
        due, count = threading.Event(), iter(range(1, 1_000_000))

        def on_event() -> None:
            if next(count) == MID_DECODE:
                due.set()

        asking = [self._clients.submit(ask, API_PORT, body, on_event) for body in BODIES]
        if outage_s:
            assert due.wait(LIMIT_S)
            self.link.down()
            time.sleep(outage_s)  # the outage itself, not a synchronisation
            assert not all(future.done() for future in asking), "the outage came too late"
            self.link.up()
        return [future.result(LIMIT_S) for future in asking]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all tests here."""
    with cable() as link, contextlib.closing(Cluster(tmp_path_factory.mktemp("ends"), link)) as it:
        it.wait_ready()
        yield it


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> list[Answer]:
    """What it answers with its cable in."""
    answers = cluster.ask_all()
    assert [answer.error for answer in answers] == [""] * len(BODIES)
    return answers


def test_a_second_without_network_costs_no_epoch(
    cluster: Cluster, undisturbed: list[Answer]
) -> None:
    """Frames are sent again: every stream goes on where it was, nothing is computed again."""
    ended = cluster.told(0, "epoch_ended")
    began_s = time.monotonic()
    assert cluster.ask_all(outage_s=1.0) == undisturbed
    sys.stdout.write(f"all answers after {time.monotonic() - began_s:.2f} s\n")
    assert cluster.told(0, "epoch_ended") == ended


def test_a_longer_outage_is_a_loss_that_nobody_reads_in_an_answer(
    cluster: Cluster, undisturbed: list[Answer]
) -> None:
    """Both ranks live on with their layers; sequences run again once they see each other."""
    ended = cluster.told(0, "epoch_ended")
    starts = [cluster.told(rank, "start") for rank in range(2)]
    assert cluster.ask_all(outage_s=6.0) == undisturbed
    [told] = [line for line in cluster.told(0, "epoch_ended") if line not in ended]
    assert "rank 1 lost" in told
    assert [cluster.told(rank, "start") for rank in range(2)] == starts
