"""A local cluster that may be broken: every supervisor on its own, links through proxies.

Runs on one event loop; ends every process that it started.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from daemon.client.control import ControlClient
from daemon.errors import ClusterError, StartFailed
from daemon.settings import ApiPart, ClusterPart, LimitsPart, RankPart, Settings
from daemon.settings_check import check
from daemon.supervision import pid_file
from mlxconsole.chaos.proxy import Proxy
from mlxconsole.local import daemons, process_mark
from mlxconsole.local.state_dir import StateDir
from protos import control_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

SABOTAGE = Path(__file__).with_name("sabotage")
START_TIMEOUT_S = 120.0
LOOK_S = 0.05
STEADY_LOOKS = 6
_UNUSED_PORTS = (10_000, 32_000)  # below what kernels give to outgoing connections


class Victim:
    """``ranks`` ranks of ``model`` on loopback and free ports, below a folder of its own."""

    def __init__(
        self,
        folder: Path,
        ranks: int,
        model: str,
        *,
        links: bool,
        limits: LimitsPart | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            folder: for state and logs.
            ranks: how many.
            model: as in `[cluster]`.
            links: let the links go through proxies, so that they can be broken.
            limits: other ones than the defaults.
            environ: more of the environment of its processes.
        """
        api_port, *ports = _free_ports(1 + 2 * ranks)
        parts = tuple(RankPart("127.0.0.1", *ports[2 * r : 2 * r + 2]) for r in range(ranks))
        self.settings = check(
            Settings(
                cluster=ClusterPart(name=f"chaos-{os.getpid()}", model=model),
                api=ApiPart(port=api_port),
                limits=limits or LimitsPart(),
                ranks=parts,
            )
        )
        self.world_size = ranks
        self._folder = folder
        self._environ = with_sabotage(os.environ) | (environ or {})
        self._links = links
        self._proxies: dict[tuple[int, int], Proxy] = {}
        self._daemons: dict[int, daemons.Daemon] = {}
        self._clients = [ControlClient(part.host, part.control_port) for part in parts]

    async def __aenter__(self) -> Self:
        """Start everything and wait until it serves.

        Raises:
            StartFailed: it does not.
        """
        if self._links:
            await self._start_proxies()
        try:
            for rank in range(self.world_size):
                self._state(rank).write_settings(self._settings_of(rank))
                self.start_supervisor(rank)
            await self.wait_settled(START_TIMEOUT_S)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    def links(self, one: int, other: int) -> list[Proxy]:
        """Both directions of the link between two ranks."""
        return [self._proxies[one, other], self._proxies[other, one]]

    def client(self, rank: int) -> ControlClient:
        """For a rank's supervisor."""
        return self._clients[rank]

    def log(self, rank: int) -> Path:
        """What a rank's supervisor has logged."""
        return pid_file.log_path_of(self._state(rank).path, rank)

    async def status(self, rank: int) -> control_pb2.RankStatus:
        """A rank, now; raises NotReady while its supervisor is away."""
        return await self._clients[rank].get_status()

    def start_supervisor(self, rank: int) -> None:
        """Start a rank, for the first time or again."""
        self._daemons[rank] = daemons.spawn(rank, self._state(rank), self._environ)

    async def kill_supervisor(self, rank: int) -> None:
        """SIGKILL, and wait for the end of the process."""
        process = self._daemons[rank].process
        process.send_signal(signal.SIGKILL)
        while process.poll() is None:  # noqa: ASYNC110 - no thread: the load may hold them all
            await asyncio.sleep(LOOK_S)

    async def restart(self, rank: int) -> None:
        """What an operator does."""
        status = await self.status(rank)
        await self._clients[rank].restart(status.generation, reason="chaos")

    async def wait_settled(self, timeout_s: float) -> None:
        """Wait until all ranks and the API are ready, and stay so for a moment.

        Raises:
            StartFailed: they are not, in time; says which.
        """
        deadline_s = time.monotonic() + timeout_s
        seen = 0
        while seen < STEADY_LOOKS:
            states = await self._states()
            seen = seen + 1 if all(state == "READY" for state in states.values()) else 0
            if time.monotonic() > deadline_s:
                text = ", ".join(f"{who} {state}" for who, state in states.items())
                raise StartFailed(f"not all ready after {timeout_s:g} s: {text}")
            await asyncio.sleep(LOOK_S)

    async def _states(self) -> dict[str, str]:
        states: dict[str, str] = {}
        for rank in range(self.world_size):
            states[f"rank {rank}"] = "AWAY"
            with suppress(ClusterError):
                status = await self.status(rank)
                states[f"rank {rank}"] = control_pb2.RankState.Name(status.state)
                if rank == 0:
                    states["api"] = control_pb2.RankState.Name(status.api.state)
        return states

    def _state(self, rank: int) -> StateDir:
        return StateDir(self._folder / f"rank-{rank}")

    def _settings_of(self, rank: int) -> Settings:
        """As ``rank`` sees the cluster: its peers behind proxies."""
        parts = [
            dataclasses.replace(part, port=proxy.port)
            if (proxy := self._proxies.get((rank, peer)))
            else part
            for peer, part in enumerate(self.settings.ranks)
        ]
        return check(dataclasses.replace(self.settings, ranks=tuple(parts)))

    async def _start_proxies(self) -> None:
        for rank in range(self.world_size):
            for peer, part in enumerate(self.settings.ranks):
                if peer != rank:
                    proxy = self._proxies[rank, peer] = Proxy(part.host, part.port)
                    await proxy.start()

    async def _end(self) -> None:
        for client in self._clients:
            await client.close()
        marks = [process_mark.ProcessMark.of(d.process.pid) for d in self._daemons.values()]
        living = [mark for mark in marks if mark is not None]
        grace_s = self.settings.limits.shutdown_grace_s + daemons.EXIT_GRACE_S
        left = await asyncio.to_thread(process_mark.end, living, grace_s)
        for daemon in self._daemons.values():
            daemon.process.poll()
        for proxy in self._proxies.values():
            await proxy.close()
        if left:
            raise StartFailed(f"processes that do not end: {[mark.pid for mark in left]}")


def with_sabotage(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which workers can be told to spoil a step."""
    path = os.pathsep.join(filter(None, (str(SABOTAGE), environ.get("PYTHONPATH"))))
    return {**environ, "PYTHONPATH": path}


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, and that no outgoing connection takes meanwhile."""
    ports: list[int] = []
    for port in random.sample(range(*_UNUSED_PORTS), 50 * count):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise StartFailed(f"no {count} free ports between {_UNUSED_PORTS[0]} and {_UNUSED_PORTS[1]}")
