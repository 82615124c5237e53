"""Real supervisors with fake children, on free ports, for tests; as a program, such a supervisor.

`python harness.py WORKER_BEHAVIOUR API_BEHAVIOUR ...` is `mlx-daemon ...` with fake children.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from daemon import cli
from daemon.client.control import ControlClient
from daemon.settings import ApiPart, ClusterPart, LimitsPart, RankPart, Settings
from daemon.settings_check import check
from daemon.settings_text import to_toml
from daemon.supervision import spare
from daemon.supervision.supervisor import ChildCommands
from tests.support.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from protos import control_pb2

LIMIT_S = 30.0  # for anything that is waited for; a healthy machine needs a fraction
SPARES = {"obey_spare", "die_spare"}  # behaviours of `fake_child` that know about them
FAKE_CHILD = Path(__file__).with_name("fake_child.py")

# Short, so that tests are; generous where the test does not look.
# A child may take as long to leave as anything may take: under load a second is soon over.
LIMITS = LimitsPart(
    shutdown_grace_s=LIMIT_S, restart_backoff_s=0.02, restart_backoff_max_s=0.1, max_quick_deaths=3
)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something outside the event loop has come true, and fail if it does not."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  processes and threads set no asyncio.Event
            await asyncio.sleep(0.01)


def make_settings(ranks: int = 1, **limits: Any) -> Settings:
    """Settings on free ports, with a cluster name that marks every child's command line."""
    api_port, *rank_ports = free_ports(1 + 2 * ranks)
    parts = tuple(
        RankPart("127.0.0.1", rank_ports[2 * r], rank_ports[2 * r + 1]) for r in range(ranks)
    )
    settings = Settings(
        cluster=ClusterPart(name=f"test-{uuid.uuid4().hex}"),
        api=ApiPart(port=api_port),
        limits=replace(LIMITS, **limits),
        ranks=parts,
    )
    return check(settings)


class Daemon:
    """A supervisor process, its state folder, and a client of it."""

    def __init__(
        self, folder: Path, settings: Settings, *, rank: int = 0, worker: str, api: str = "obey"
    ) -> None:
        self.settings = settings
        self.state_dir = folder / "state"
        config = folder / "cluster.toml"
        config.write_text(to_toml(settings), encoding="utf-8")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.unit.supervision.harness", worker, api),
                *("--rank", str(rank), "--config", str(config)),
                *("--state-dir", str(self.state_dir)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.client = ControlClient("127.0.0.1", settings.ranks[rank].control_port)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it if the test has not, and check that it left nothing behind."""
        await self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        await self.exit_code()
        assert self.process.stderr is not None
        self.process.stderr.close()
        await self.no_orphans()

    async def exit_code(self) -> int:
        """Wait for the end of the supervisor."""
        try:
            return await asyncio.to_thread(self.process.wait, LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def last_words(self) -> str:
        """What the ended supervisor wrote to stderr."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def children(self) -> list[psutil.Process]:
        """Living processes with this cluster's name on their command line."""
        name = self.settings.cluster.name
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(name in word for word in process.info["cmdline"] or ())
        ]

    async def no_orphans(self) -> None:
        """Wait for the end of all children, and fail if some stay."""
        _, alive = await asyncio.to_thread(psutil.wait_procs, self.children(), LIMIT_S)
        for process in alive:
            process.kill()
        assert not alive, f"orphans: {alive}"

    async def answers(self) -> control_pb2.RankStatus:
        """Wait until the control port answers."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    return await self.client.get_status()
                except cli.ClusterError:
                    await asyncio.sleep(0.02)

    async def until(
        self, condition: Callable[[control_pb2.RankStatus], bool]
    ) -> control_pb2.RankStatus:
        """Watch until a status meets ``condition``."""
        await self.answers()
        async with asyncio.timeout(LIMIT_S):
            async for frame in self.client.watch():
                if condition(frame.status):
                    return frame.status
        raise AssertionError("the stream ended first")

    async def until_ready(self, generation: int = 1) -> control_pb2.RankStatus:
        """Wait until worker and API process are READY."""
        ready = 4
        return await self.until(
            lambda status: (
                status.state == ready
                and status.generation == generation
                and (status.rank > 0 or status.api.state == ready)
            )
        )

    async def events(self) -> list[str]:
        """Texts of the events so far."""
        async with asyncio.timeout(LIMIT_S):
            async for frame in self.client.watch():
                return [event.text for event in frame.events]
        return []


def main() -> int:
    """`mlx-daemon` with fake children."""
    worker, api, *arguments = sys.argv[1:]
    spare.DELAY_S = 0.1
    os.environ.pop("MLXCONSOLE_LIMITS_WARM_SPARE", None)  # of tests/conftest.py, for other tests
    program = (sys.executable, str(FAKE_CHILD))
    if worker == "missing":
        return cli.main(
            arguments, ChildCommands(("/nowhere/python",), (*program, api), spares=False)
        )
    return cli.main(
        arguments, ChildCommands((*program, worker), (*program, api), spares=worker in SPARES)
    )


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
