"""Supervisors under real signals, with real processes as children.

Every test leaves its `Daemon` through a check that no child of it is alive.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from daemon.errors import NotReady, StaleGeneration
from daemon.supervision import pid_file
from protos import control_pb2
from tests.unit.supervision.harness import LIMIT_S, Daemon, make_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

DOWN, FAILED, READY, STARTING = (
    control_pb2.DOWN,
    control_pb2.FAILED,
    control_pb2.READY,
    control_pb2.STARTING,
)


async def test_a_rank_starts_and_tells_everything(tmp_path: Path) -> None:
    """Status, log lines of every source, events, pid file and log file."""
    settings = make_settings()
    async with Daemon(tmp_path, settings, worker="obey") as daemon:
        status = await daemon.until_ready()
        assert (status.rank, status.world_size) == (0, 1)
        assert status.supervisor_pid == daemon.process.pid
        assert (status.layer_lo, status.layer_hi, status.epoch) == (0, 4, 1)
        assert status.memory.mlx_active_bytes == 1000
        assert status.counters.tokens_out == 5
        assert status.api.url == settings.api_url
        assert psutil.pid_exists(status.worker_pid)
        assert psutil.pid_exists(status.api.pid)
        status = await daemon.until(lambda now: now.memory.rss_bytes > 1_000_000)

        cluster = await daemon.client.get_cluster()
        assert [member.port for member in cluster.members] == [settings.ranks[0].port]

        seen: set[tuple[str, str]] = set()
        wanted = {
            (source, text)
            for source in ("worker", "api")
            for text in ("hello", "hello from stdout", "hello from stderr")
        }
        async with asyncio.timeout(LIMIT_S):
            async for frame in daemon.client.watch(history_lines=1000):
                seen |= {(line.source.split(".")[0], line.event) for line in frame.logs}
                if wanted <= seen:
                    break
        claim = pid_file.read(pid_file.path_of(daemon.state_dir, 0))
        assert claim is not None
        assert claim.pid == daemon.process.pid
        await daemon.client.shutdown()
        assert await daemon.exit_code() == 0
        assert "worker 1 started" in (daemon.state_dir / "rank-0.log").read_text()
        assert not pid_file.path_of(daemon.state_dir, 0).exists()


async def test_a_killed_worker_is_down_with_its_cause_and_comes_back(tmp_path: Path) -> None:
    """The next generation has another boot_id, and the operator need not wait for the delay."""
    settings = make_settings(restart_backoff_s=100.0, restart_backoff_max_s=100.0)
    async with Daemon(tmp_path, settings, worker="obey") as daemon:
        first = await daemon.until_ready()
        killed_s = time.time()
        os.kill(first.worker_pid, signal.SIGKILL)
        down = await daemon.until(lambda status: status.state == DOWN)
        assert down.exit_cause == "killed by signal 9 (SIGKILL)"
        assert (down.worker_pid, down.generation, down.memory.rss_bytes) == (0, 1, 0)
        async for frame in daemon.client.watch():
            [died] = [event for event in frame.events if event.kind == "exit"]
            assert died.time_s - killed_s < 1.0  # 100 ms on a machine that does nothing else
            break
        await daemon.client.restart(1, reason="no patience")
        second = await daemon.until_ready(generation=2)
        assert second.restarts == 1
        assert second.worker_pid != first.worker_pid
        assert second.boot_id != first.boot_id
        assert second.api.pid == first.api.pid


async def test_a_kill_that_was_ordered_is_told_as_one(tmp_path: Path) -> None:
    """Not as one of a worker that would not leave in its time."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        await daemon.until_ready()
        await daemon.client.act("kill", 1, "test")
        second = await daemon.until_ready(generation=2)
        assert second.exit_cause.endswith("test: killed by the operator, with signal 9 (SIGKILL)")


async def test_five_kills_in_a_row_are_five_restarts(tmp_path: Path) -> None:
    """Nobody has to help."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        for generation in range(1, 6):
            status = await daemon.until_ready(generation)
            os.kill(status.worker_pid, signal.SIGKILL)
        status = await daemon.until_ready(6)
        assert status.restarts == 5


async def test_a_killed_api_process_is_back_and_the_worker_unharmed(tmp_path: Path) -> None:
    """HTTP returns at once; the model stays loaded."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        first = await daemon.until_ready()
        os.kill(first.api.pid, signal.SIGKILL)
        again = await daemon.until(lambda now: now.api.state == READY and now.api.restarts == 1)
        assert again.api.exit_cause == "killed by signal 9 (SIGKILL)"
        assert (again.worker_pid, again.generation) == (first.worker_pid, 1)


@pytest.mark.parametrize("worker", ["obey", "refuse", "silent"])
async def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path, worker: str) -> None:
    """In whatever state its children are; a stopped one too."""
    async with Daemon(tmp_path, make_settings(), worker=worker) as daemon:
        # Until the API process is READY: one that is stopped before its first line of Python
        # runs has not asked the kernel to end with its parent yet.
        status = await daemon.until(lambda now: now.worker_pid > 0 and now.api.state == READY)
        os.kill(status.api.pid, signal.SIGSTOP)
        daemon.process.kill()
        await daemon.exit_code()
        await daemon.no_orphans()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_children_start_ends_all(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A child that imports for seconds has no handler yet."""
    async with Daemon(tmp_path, make_settings(), worker="silent", api="silent") as daemon:
        await daemon.until(lambda status: status.worker_pid > 0)
        daemon.process.send_signal(number)
        assert await daemon.exit_code() == 0
        assert daemon.children() == []


@pytest.mark.parametrize("moment_s", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8])
async def test_a_signal_at_any_moment_of_the_start_leaves_nothing(
    tmp_path: Path, moment_s: float
) -> None:
    """Before our handlers stand the signal's own effect is right: there is no child yet."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        await asyncio.sleep(moment_s)
        daemon.process.terminate()
        assert await daemon.exit_code() in {0, -signal.SIGTERM}
        assert daemon.children() == []


async def test_a_child_that_refuses_is_killed_with_its_own_children(tmp_path: Path) -> None:
    """After the grace, by a shutdown that asked for a short one."""
    async with Daemon(tmp_path, make_settings(), worker="refuse") as daemon:
        await daemon.until_ready()
        grandchild = int(next(text for text in await daemon.events() if text.isdigit()))
        process = psutil.Process(grandchild)
        await daemon.client.shutdown(grace_s=0.2)
        assert await daemon.exit_code() == 0
        await asyncio.to_thread(psutil.wait_procs, [process], LIMIT_S)
        assert not process.is_running()
    assert "after its time to leave was over" in (daemon.state_dir / "rank-0.log").read_text()


async def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """Ctrl-C twice."""
    settings = make_settings(shutdown_grace_s=1000.0)
    async with Daemon(tmp_path, settings, worker="refuse", api="refuse") as daemon:
        await daemon.until_ready()
        daemon.process.terminate()
        await daemon.until(lambda status: status.api.state == control_pb2.DRAINING)
        with pytest.raises(NotReady, match="shutting down"):
            await daemon.client.restart(1)
        daemon.process.terminate()
        assert await daemon.exit_code() == 0


async def test_a_restart_needs_the_present_generation(tmp_path: Path) -> None:
    """An operator who acts on an old picture is told so, and nothing happens."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        first = await daemon.until_ready()
        reply = await daemon.client.restart(1, reason="upgrade")
        assert reply.generation == 2
        second = await daemon.until_ready(2)
        assert "upgrade: exit code 0" in second.exit_cause
        assert "127.0.0.1" in second.exit_cause  # who asked
        with pytest.raises(StaleGeneration, match="generation 2, not 1"):
            await daemon.client.restart(1)
        third = await daemon.client.get_status()
        assert third.worker_pid == second.worker_pid
        assert third.api.pid == first.api.pid


async def test_deaths_before_ready_end_as_failed_with_the_cause(tmp_path: Path) -> None:
    """The last line of stderr says what was wrong."""
    async with Daemon(tmp_path, make_settings(), worker="die") as daemon:
        status = await daemon.until(lambda status: status.state == FAILED)
        assert status.generation == 3
        assert status.exit_cause == "exit code 1: RuntimeError: no luck in generation 3"
        await daemon.client.restart(3)
        await daemon.until(lambda status: status.generation >= 4)


async def test_a_hopeless_worker_is_failed_at_once(tmp_path: Path) -> None:
    """Exit code 78 means that no restart will help; the reason is what the worker reported."""
    async with Daemon(tmp_path, make_settings(), worker="hopeless", api="hopeless") as daemon:
        status = await daemon.until(lambda now: now.state == FAILED and now.worker_pid == 0)
        assert status.generation == 1
        assert status.exit_cause == "exit code 78: model folder /nowhere is no model"
        status = await daemon.until(lambda now: now.api.state == FAILED and now.api.pid == 0)
        assert status.api.restarts == 0
        await daemon.client.restart(1, reason="the model is there now")
        await daemon.until(lambda now: now.generation == 2 and now.api.restarts == 1)


async def test_a_worker_that_fails_once_recovers(tmp_path: Path) -> None:
    """Other ranks than 0 have no API process."""
    settings = make_settings(ranks=2)
    async with Daemon(tmp_path, settings, rank=1, worker="gone_while_loading") as daemon:
        status = await daemon.until_ready(generation=2)
        assert (status.rank, status.restarts) == (1, 1)
        assert not status.HasField("api")


async def test_a_program_that_is_missing_is_a_cause(tmp_path: Path) -> None:
    """The supervisor stays and says it."""
    async with Daemon(tmp_path, make_settings(), worker="missing") as daemon:
        status = await daemon.until(lambda status: status.state == FAILED)
        assert status.exit_cause == "can't start /nowhere/python: No such file or directory"


async def test_nonsense_from_a_child_is_logged_and_harmless(tmp_path: Path) -> None:
    """Bad reports, and escape sequences for the terminal."""
    async with Daemon(tmp_path, make_settings(), worker="babble") as daemon:
        await daemon.until_ready()
        async for frame in daemon.client.watch(history_lines=1000):
            bad = [
                json.loads(line.fields_json) for line in frame.logs if line.event == "bad_report"
            ]
            assert len(bad) == 4
            assert "unknown state 'FLYING'" in bad[1]["why"]
            assert not any("\x1b" in line.event for line in frame.logs)
            assert any("[31mred" in line.event for line in frame.logs)
            break


async def test_a_watch_ends_with_the_supervisor(tmp_path: Path) -> None:
    """A reader sees the last state, then the end of the stream, not an error."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        await daemon.until_ready()
        frames = daemon.client.watch()
        last = await anext(frames)
        await daemon.client.shutdown()
        async with asyncio.timeout(LIMIT_S):
            async for frame in frames:
                last = frame
        assert last.status.state == DOWN
        assert last.status.worker_pid == 0


async def test_a_stopped_supervisor_is_noticed(tmp_path: Path) -> None:
    """Its kernel still accepts connections: only deadlines tell."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        await daemon.until_ready()
        frames = daemon.client.watch(frame_timeout_s=1.0)
        await anext(frames)
        daemon.process.send_signal(signal.SIGSTOP)
        with pytest.raises(NotReady, match=r"did not answer within 0\.3 s"):
            await daemon.client.get_status(timeout_s=0.3)
        with pytest.raises(NotReady, match="silent for 1 s"):
            async for _ in frames:
                pass


async def test_a_killed_supervisor_breaks_the_watch(tmp_path: Path) -> None:
    """As an error that names the address."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        await daemon.until_ready()
        frames = daemon.client.watch()
        await anext(frames)
        daemon.process.kill()
        with pytest.raises(NotReady, match=f"no daemon answers at {daemon.client.address}"):
            async for _ in frames:
                pass


@pytest.mark.parametrize("which", ["port", "control_port", "api"])
async def test_a_port_in_use_is_one_line(tmp_path: Path, which: str) -> None:
    """It names the port, its purpose and its holder; nothing is left running."""
    settings = make_settings()
    part = settings.ranks[0]
    port = {"port": part.port, "control_port": part.control_port, "api": settings.api.port}[which]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        async with Daemon(tmp_path, settings, worker="obey") as daemon:
            assert await daemon.exit_code() == 2
            words = daemon.last_words()
    assert words.count("\n") == 1
    assert f"127.0.0.1:{port} is taken by process {os.getpid()}" in words
    assert which in words


async def test_a_second_supervisor_of_the_same_rank_is_refused(tmp_path: Path) -> None:
    """By its claim, before it looks at ports."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as first:
        await first.until_ready()
        async with Daemon(tmp_path, make_settings(), worker="obey") as second:
            assert await second.exit_code() == 2
            assert f"supervised by process {first.process.pid}" in second.last_words()
        assert (await first.client.get_status()).state == READY


def test_the_supervisor_never_loads_mlx() -> None:
    """It must stay small and answer while a worker hangs in mlx."""
    code = (
        "import sys; import daemon.cli, daemon.supervision.supervisor, "
        "daemon.supervision.state_folder, daemon.client.control; "
        "print([name for name in sys.modules if name.split('.')[0] in ('mlx', 'mlx_lm', 'numpy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
