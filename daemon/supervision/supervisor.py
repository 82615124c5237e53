"""The supervisor of one rank: puts children, history and control server together.

Owns the order of start and end. One event loop, no threads of its own except those that wait for
processes. Never imports mlx.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import __version__, ports
from daemon.errors import NotReady, SettingsError, StaleGeneration
from daemon.operator_token import FILE_VARIABLE, VARIABLE, operator_token
from daemon.settings_check import listening
from daemon.supervision import control_service
from daemon.supervision.child import Child
from daemon.supervision.child_life import Phase
from daemon.supervision.child_spec import ChildSpec
from daemon.supervision.history import History
from daemon.supervision.supervisor_log import SupervisorLog
from daemon.supervision.traces import Traces
from daemon.supervision.worker_record import WorkerRecord
from protos import control_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.settings import Settings

log = logging.getLogger(__name__)

# SIGHUP: the terminal of a daemon that was started by hand is closed.
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MEASURE_INTERVAL_S = 1.0
_AFTER_KILL_S = 5.0  # a process that the kernel can't end by then is left to it
_PORT_PATIENCE_S = 1.0  # children of a supervisor that was just killed take a moment to go
_LOOK_S = 0.05
_SERVER_GRACE_S = 0.5  # for the last frames of readers


@dataclass(frozen=True)
class ChildCommands:
    """The programs of the children; ``--spec JSON`` is appended."""

    # -P: a folder named `daemon` where the operator happens to stand is not our package.
    worker: tuple[str, ...] = (sys.executable, "-P", "-m", "daemon.worker")
    api: tuple[str, ...] = (sys.executable, "-P", "-m", "daemon.api_server")
    spares: bool = True
    """Whether they know what `child_spec.SPARE_FLAG` means."""


class Supervisor:
    """One rank's supervisor; `run` is its whole life."""

    def __init__(
        self,
        rank: int,
        settings: Settings,
        *,
        commands: ChildCommands | None = None,
        log_level: str = "INFO",
    ) -> None:
        """Prepare; nothing is started or bound.

        Raises:
            SettingsError: the rank is outside the world.
        """
        if not 0 <= rank < settings.world_size:
            raise SettingsError(
                f"rank {rank} is outside the world: with {settings.world_size} [[ranks]] "
                f"ranks go from 0 to {settings.world_size - 1}"
            )
        self.rank = rank
        self.settings = settings
        self.history = History()
        self.closing = asyncio.Event()
        self._commands = commands or ChildCommands()
        self._spec = ChildSpec(rank, 0, "", settings, -1, -1, log_level)
        self._record = WorkerRecord()
        self._traces = Traces()
        self._stop = asyncio.Event()
        self._stop_grace_s = settings.limits.shutdown_grace_s
        self._tasks: asyncio.TaskGroup | None = None
        self._worker: Child | None = None
        self._api: Child | None = None

    async def run(self, on_listening: Callable[[], None] = lambda: None) -> None:
        """Serve until a signal or a Shutdown call; every child has ended when this returns.

        Args:
            on_listening: called once the control port is ours, before any child starts.

        Raises:
            PortInUse, SettingsError: a port that this rank needs can't be had.
        """
        loop = asyncio.get_running_loop()
        for number in _END_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            with SupervisorLog(self.history, loop):
                await self._serve(on_listening)
        finally:
            for number in _END_SIGNALS:
                loop.remove_signal_handler(number)

    def status(self) -> control_pb2.RankStatus:
        """The rank, now."""
        part = self.settings.ranks[self.rank]
        status = control_pb2.RankStatus(
            rank=self.rank,
            world_size=self.settings.world_size,
            state=control_pb2.STARTING,
            host=part.host,
            port=part.port,
            control_port=part.control_port,
            supervisor_pid=os.getpid(),
            version=__version__,
            model=self.settings.cluster.model,
        )
        self._record.fill(status, time.monotonic())
        worker, api = self._worker, self._api
        if worker is not None:
            status.state = control_pb2.RankState.Value(worker.life.state)
            status.worker_pid = worker.pid
            status.generation = worker.life.generation
            status.restarts = worker.life.restarts
            status.uptime_s = worker.uptime_s
            status.exit_cause = worker.life.exit_cause
            status.reason = worker.reason if worker.pid else ""
            status.boot_id = worker.boot_id
            status.memory.rss_bytes = worker.rss_bytes if worker.pid else 0
        if self.rank == 0:
            status.api.CopyFrom(_api_status(api, self.settings.api_url))
        return status

    def requests(self) -> control_pb2.RequestTable | None:
        """The requests of rank 0, as its worker told last; None elsewhere."""
        return self._record.requests

    async def trace(self, sequence: int, most_steps: int) -> list[control_pb2.TraceStep]:
        """The last steps of the worker.

        Raises:
            NotReady: there is none, or it does not answer.
        """
        if self._worker is None:
            raise NotReady(f"rank {self.rank} has not started yet")
        return await self._traces.ask(self._worker.command, sequence, most_steps)

    def restart(self, generation: int, drain_timeout_s: float, reason: str) -> int:
        """Begin to restart the worker, after it has drained if there is a timeout for that.

        Returns:
            The generation that follows.

        Raises:
            StaleGeneration: the worker is another one than the caller saw.
            NotReady: the supervisor is starting or ending.
        """
        worker = self._current(generation)
        self.history.event("restart", reason)
        if drain_timeout_s and worker.life.state in {"READY", "DRAINING"} and self._tasks:
            worker.command({"do": "drain"})
            self._tasks.create_task(self._restart_drained(generation, drain_timeout_s, reason))
        else:
            self._restart_now(worker, reason)
        return generation + 1

    def order(self, name: str, generation: int, reason: str, **details: str) -> None:
        """Have the worker do what the operator wants: drain, undrain or cancel.

        Raises:
            StaleGeneration, NotReady: as for `restart`.
        """
        self._current(generation).command({"do": name, **details})
        self.history.event(name, reason)

    def kill(self, generation: int, reason: str) -> int:
        """End the worker at once and start another; the generation that follows.

        Raises:
            StaleGeneration, NotReady: as for `restart`.
        """
        worker = self._current(generation)
        self.history.event("kill", reason)
        worker.restart(reason, 0.0)
        return generation + 1

    def _current(self, generation: int) -> Child:
        """The worker, if it is the one that the caller saw."""
        worker = self._worker
        if worker is None or self._stop.is_set():
            raise NotReady(f"rank {self.rank} is shutting down or has not started yet")
        current = worker.life.generation
        if generation != current:
            raise StaleGeneration(
                f"rank {self.rank} is in generation {current}, not {generation}: "
                "it has been restarted since; look again"
            )
        return worker

    async def _restart_drained(self, generation: int, timeout_s: float, reason: str) -> None:
        deadline_s = time.monotonic() + timeout_s
        # No event to wait for: the sample may never come.
        while time.monotonic() < deadline_s and not self._record.gauges.get("drained"):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)  # samples come four times a second
        worker = self._worker
        if worker is not None and worker.life.generation == generation and not self._stop.is_set():
            if not self._record.gauges.get("drained"):
                self.history.event("drain", f"not drained within {timeout_s:g} s: restarts anyway")
            self._restart_now(worker, reason)

    def _restart_now(self, worker: Child, reason: str) -> None:
        worker.restart(reason, self.settings.limits.shutdown_grace_s)
        if self._api is not None and self._api.life.phase is Phase.GIVEN_UP:
            self._api.restart(reason, self.settings.limits.shutdown_grace_s)

    def shutdown(self, grace_s: float, reason: str) -> None:
        """Begin to end; asked again, it kills what still lives."""
        if self._stop.is_set():
            self.history.event("shutdown", f"{reason}, again: no more grace")
            self._stop_grace_s = 0.0
            for child in self._children():
                child.stop(0.0)
            return
        self.history.event("shutdown", reason)
        self._stop_grace_s = grace_s or self.settings.limits.shutdown_grace_s
        self._stop.set()

    def _on_signal(self, number: signal.Signals) -> None:
        self.shutdown(0.0, f"shut down by {number.name}")

    async def _serve(self, on_listening: Callable[[], None]) -> None:
        part = self.settings.ranks[self.rank]
        purpose = f"rank {self.rank} control_port"
        service = control_service.ControlService(self, self.settings, operator_token())
        server = await control_service.serve(service, part.host, part.control_port, purpose)
        try:
            await self._check_child_ports()
            on_listening()
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._create_children(tasks)
                measuring = tasks.create_task(self._measure())
                if not self._stop.is_set():
                    # The worker first: it has more to load than the API process.
                    for child in reversed(self._children()):
                        child.start()
                await self._stop.wait()
                await self._end_children()
                measuring.cancel()
        except ExceptionGroup:
            log.exception("supervisor_failed")
            raise
        finally:
            for child in self._children():
                child.abandon()
            self.closing.set()
            await server.stop(_SERVER_GRACE_S)

    async def _check_child_ports(self) -> None:
        """Say at once what the children would say after seconds of importing."""
        own = {f"rank {self.rank} port"} | ({"api.port"} if self.rank == 0 else set())
        for owner, host, port in listening(self.settings):
            if owner in own:
                await asyncio.to_thread(ports.check_free, host, port, owner, _PORT_PATIENCE_S)

    def _create_children(self, tasks: asyncio.TaskGroup) -> None:
        environment = child_environment()
        spare = self._commands.spares and self.settings.limits.warm_spare
        self._worker = Child(
            "worker",
            self._commands.worker,
            self._spec,
            environment,
            self.history,
            tasks,
            spare=spare,
        )
        self._worker.on_start = self._record.clear
        self._worker.on_sample = lambda sample: self._record.take(sample, time.monotonic())
        self._worker.on_answer = self._traces.answered
        self._worker.on_exit = self._record.process_ended
        if self.rank == 0:
            self._api = Child(
                "api",
                self._commands.api,
                self._spec,
                environment,
                self.history,
                tasks,
                spare=spare,
            )

    def _children(self) -> list[Child]:
        """In the order of ending: no new requests first."""
        return [child for child in (self._api, self._worker) if child is not None]

    async def _end_children(self) -> None:
        for child in self._children():
            child.stop(self._stop_grace_s)
            await child.wait_ended(self._stop_grace_s + _AFTER_KILL_S)

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(_MEASURE_INTERVAL_S)
            if self._worker is not None:
                self._worker.measure()


def _api_status(api: Child | None, url: str) -> control_pb2.ApiStatus:
    status = control_pb2.ApiStatus(url=url, state=control_pb2.STARTING)
    if api is not None:
        status.pid = api.pid
        status.state = control_pb2.RankState.Value(api.life.state)
        status.restarts = api.life.restarts
        status.exit_cause = api.life.exit_cause
    return status


def child_environment() -> dict[str, str]:
    """Ours, plus what makes a child's last words readable and our package importable."""
    # glibc: weights in pages of 2 MiB; one core read them up to a tenth faster.
    speed = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} if sys.platform == "linux" else {}
    environment = {**speed, **os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    for name in (VARIABLE, FILE_VARIABLE):  # workers and the API process act on nobody
        environment.pop(name, None)
    root = str(Path(__file__).resolve().parents[2])
    if root not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        path = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{root}{os.pathsep}{path}" if path else root
    return environment
