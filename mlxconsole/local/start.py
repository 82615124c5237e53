"""Brings a local cluster up: settles what can fail, starts the ranks, follows them until ready.

Whatever goes wrong, and whenever it is interrupted, nothing that it started stays
behind. Runs in an event loop of its own.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.errors import StartFailed
from mlxconsole.cluster import Cluster
from mlxconsole.local import daemons, preflight
from mlxconsole.local.daemons import Daemon
from mlxconsole.local.taken_ports import check_ports
from mlxconsole.snapshot import all_ready, api_status, state_name
from mlxconsole.source.live import LiveSource
from mlxconsole.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.settings import Settings
    from mlxconsole.local.progress import Progress
    from mlxconsole.local.state_dir import StateDir
    from mlxconsole.source.base import Update
    from protos.control_pb2 import ApiStatus, RankStatus

LOOK_INTERVAL_S = 0.25
"""How often processes that may have died are looked at; news from ranks is taken at once."""
REASON_WAIT_S = 3.0
"""How long the reason may come after the news that a worker has failed."""
LEAVE_WAIT_S = 2.0
"""How long the connections to the ranks may take to close; the outcome is known by then."""
ORPHANS_S = 1.0
"""How long the children of a daemon that was just killed may hold its ports."""
FIRST_RETRY_S, MOST_RETRY_S = 0.1, 0.5


@dataclass
class Start:
    """One attempt to start a cluster in a state folder."""

    settings: Settings
    state: StateDir
    progress: Progress
    timeout_s: float
    completes: bool = field(default=False, init=False)
    """Others of its ranks run already, and go on to whatever comes of this start."""

    async def run(self) -> Cluster:
        """Everything from the checks to the ready cluster.

        Raises:
            ClusterError: why it could not be started; nothing that it has started is left.
        """
        with self.state.lock():
            ranks, started = self._check(), list[Daemon]()
            if self.completes:
                missing = preflight.ranks_in_words(ranks)
                self.progress.note(f"the cluster runs without the daemon of {missing}: starting it")
            else:
                self.state.clear()
                self.state.write_settings(self.settings)
            try:
                # One by one: an interruption ends those that there are.
                started.extend(daemons.spawn(rank, self.state, os.environ) for rank in ranks)
                await self._follow(started)
            except BaseException:
                self.progress.end()
                self._take_back(started)
                raise
            self.progress.end()
        return Cluster.from_settings(self.settings)

    def _check(self) -> list[int]:
        """The ranks to start."""
        ranks = preflight.ranks_to_start(self.state, self.settings)
        self.completes = len(ranks) < self.settings.world_size
        preflight.check_hosts(self.settings)
        preflight.check_model(self.settings.cluster.model, self.settings.world_size)
        check_ports(self.settings, ranks, ORPHANS_S if self.completes else 0.0)
        return ranks

    def _take_back(self, started: Sequence[Daemon]) -> None:
        grace_s = self.settings.limits.shutdown_grace_s
        if self.completes:
            daemons.end_some(self.state, started, grace_s)
        else:
            daemons.end_all(self.state, grace_s)

    async def _follow(self, started: Sequence[Daemon]) -> None:
        cluster = Cluster.from_settings(self.settings)
        store, news = Store(cluster), asyncio.Event()

        def sink(update: Update) -> None:
            store.apply(update)
            news.set()

        source = LiveSource(cluster, FIRST_RETRY_S, MOST_RETRY_S)
        following = asyncio.create_task(source.follow(sink))
        try:
            await self._until_ready(store, news, started)
        finally:
            following.cancel()
            await asyncio.wait([following], timeout=LEAVE_WAIT_S)

    async def _until_ready(
        self, store: Store, news: asyncio.Event, started: Sequence[Daemon]
    ) -> None:
        deadline_s = time.monotonic() + self.timeout_s
        while True:
            statuses = live_statuses(store)
            self.progress.show(parts(store.cluster, statuses))
            if all_ready(store.cluster, statuses):
                return
            raise_if_hopeless(store, started)
            if time.monotonic() > deadline_s:
                raise StartFailed(
                    f"not ready after {self.timeout_s:g} s ({waiting_for(store)}): see "
                    f"{self.state}, or allow more with --timeout"
                )
            news.clear()
            try:
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await news.wait()
            except TimeoutError:
                continue


def live_statuses(store: Store) -> dict[int, RankStatus]:
    """The statuses of those ranks that we are in contact with."""
    return {
        rank: view.status
        for rank, view in store.ranks.items()
        if view.status is not None and view.contact == "live"
    }


def parts(cluster: Cluster, statuses: dict[int, RankStatus]) -> dict[str, str]:
    """What progress shows: the state of every rank and of the API, with layers n/m."""
    shown: dict[str, str] = {}
    for member in cluster.members:
        status = statuses.get(member.rank)
        text = state_name(status) if status else "STARTING"
        if status and text == "LOADING" and status.progress.layers_total:
            text += f" layers {status.progress.layers_done}/{status.progress.layers_total}"
        if status and text == "DOWN" and status.exit_cause:
            text += f" ({status.exit_cause})"
        shown[f"rank {member.rank}"] = text
    api = api_status(statuses)
    shown["api"] = state_name(api) if api else "STARTING"
    return shown


def waiting_for(store: Store) -> str:
    """The state of every part in one line, and why a rank can't be reached, if one can't."""
    states = [f"{name} {text}" for name, text in parts(store.cluster, live_statuses(store)).items()]
    lost = [view.reason for view in store.ranks.values() if view.contact == "lost"]
    return "; ".join([*states, *lost[:1]])


def raise_if_hopeless(store: Store, started: Sequence[Daemon]) -> None:
    """Give up on the first rank that no waiting will bring up.

    Raises:
        StartFailed: names the rank and its reason.
    """
    now_s, statuses = store.clock(), live_statuses(store)
    for rank, status in sorted(statuses.items()):
        age_s = now_s - store.ranks[rank].state_since_s
        _raise_if_failed(f"rank {rank}", status, age_s)
    if 0 in statuses and statuses[0].HasField("api"):
        _raise_if_failed("the API process", statuses[0].api, now_s - store.ranks[0].api_since_s)
    for daemon in started:
        if daemon.process.poll() is not None:
            raise StartFailed(f"rank {daemon.rank} ended at once: {daemon.last_words()}")


def _raise_if_failed(who: str, status: RankStatus | ApiStatus, age_s: float) -> None:
    """Raise when it has FAILED and said why, or has had ``age_s`` long enough to say it."""
    cause = status.exit_cause.removeprefix("exit code 78: ")  # the one that means FAILED
    if state_name(status) == "FAILED" and (cause or age_s > REASON_WAIT_S):
        raise StartFailed(f"{who} failed: {cause or 'no reason given'}")
