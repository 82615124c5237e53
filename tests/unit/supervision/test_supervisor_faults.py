"""What the supervisor does when the fault is its own, or the kernel's."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading

import psutil
import pytest

from daemon.errors import NotReady, SettingsError
from daemon.supervision import child_process
from daemon.supervision.child import Child
from daemon.supervision.child_spec import ChildSpec
from daemon.supervision.history import History
from daemon.supervision.supervisor import ChildCommands, Supervisor
from daemon.supervision.supervisor_log import SupervisorLog
from protos import control_pb2
from tests.unit.supervision.harness import FAKE_CHILD, eventually, make_settings

OBEY = (sys.executable, str(FAKE_CHILD), "obey")


def log_events(history: History) -> list[str]:
    """Event names of all log lines so far."""
    return [line.event for line in history.subscribe(1_000).take().logs]


async def test_a_fault_of_its_own_ends_the_supervisor_and_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Better no rank than one that nobody watches."""
    supervisor = Supervisor(0, make_settings(), commands=ChildCommands(OBEY, OBEY))

    async def broken(self: Supervisor) -> None:
        await eventually(lambda: bool(self.status().worker_pid and self.status().api.pid))
        raise RuntimeError("a bug")

    monkeypatch.setattr(Supervisor, "_measure", broken)
    with pytest.raises(ExceptionGroup):
        await supervisor.run()
    status = supervisor.status()
    assert status.worker_pid
    for pid in (status.worker_pid, status.api.pid):
        await eventually(lambda pid=pid: not psutil.pid_exists(pid))
    assert "supervisor_failed" in log_events(supervisor.history)


async def test_before_the_start_there_is_nothing_to_restart() -> None:
    """A call in the first milliseconds."""
    supervisor = Supervisor(0, make_settings())
    with pytest.raises(NotReady, match="has not started yet"):
        supervisor.restart(0, 0.0, "early")
    assert supervisor.status().worker_pid == 0


async def test_who_leaves_in_order_is_no_warning() -> None:
    """A restart that somebody ordered is not among the last errors; a death is."""
    supervisor = Supervisor(0, make_settings(), commands=ChildCommands(OBEY, OBEY))
    running = asyncio.create_task(supervisor.run())
    await eventually(lambda: supervisor.status().state == control_pb2.READY)
    supervisor.restart(1, 0.0, "ordered")
    await eventually(lambda: supervisor.status().generation == 2)
    await eventually(lambda: supervisor.status().state == control_pb2.READY)
    os.kill(supervisor.status().worker_pid, signal.SIGKILL)
    await eventually(lambda: supervisor.status().generation == 3)
    await eventually(lambda: supervisor.status().state == control_pb2.READY)
    supervisor.shutdown(0.0, "over")
    await running
    events = supervisor.history.subscribe(0).take().events
    worker = [(e.kind, e.text) for e in events if e.text.startswith("worker")]
    ends = [(kind, text) for kind, text in worker if kind in {"exit", "left"}]
    assert ends == [
        ("left", "worker 1: exit code 0"),
        ("exit", "worker 2: killed by signal 9 (SIGKILL)"),
        ("left", "worker 3: exit code 0"),
    ]


async def test_a_stop_during_the_start_starts_no_child() -> None:
    """SIGTERM between the first handler and the first child."""
    supervisor = Supervisor(0, make_settings(), commands=ChildCommands(OBEY, OBEY))
    await supervisor.run(on_listening=lambda: supervisor.shutdown(0.0, "early"))
    assert supervisor.status().generation == 0


def test_a_rank_outside_the_world() -> None:
    """Says which ranks there are."""
    with pytest.raises(SettingsError, match="ranks go from 0 to 1"):
        Supervisor(2, make_settings(ranks=2))


async def test_a_process_that_the_kernel_cannot_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One stuck in a driver must not keep the supervisor from ending."""
    history = History()
    async with asyncio.TaskGroup() as tasks:
        spec = ChildSpec(0, 0, "", make_settings(), -1, -1)
        child = Child("worker", OBEY, spec, os.environ, history, tasks)
        child.start()
        await eventually(lambda: child.life.state == "READY")
        with monkeypatch.context() as patch:
            patch.setattr(child_process.ChildProcess, "signal_group", lambda *_: None)
            child.stop(0.0)
            await child.wait_ended(timeout_s=0.1)
        assert "child_unkillable" in log_events(history)
    await eventually(lambda: not any(t.name.startswith("wait-") for t in threading.enumerate()))


async def test_log_records_of_all_threads_become_lines(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Libraries log from threads of their own; history belongs to the loop."""
    history = History()
    log = logging.getLogger("daemon.test")
    with SupervisorLog(history, asyncio.get_running_loop()) as handler:
        log.warning("here", extra={"fields": {"n": 1}})
        thread = threading.Thread(target=log.warning, args=("there",))
        thread.start()
        await asyncio.to_thread(thread.join)
        await eventually(lambda: "there" in log_events(history))
        handler.emit(logging.LogRecord("x", logging.INFO, "x", 1, "%d", ("no number",), None))
    log.warning("not any more")
    lines = history.subscribe(10).take().logs
    assert [line.event for line in lines] == ["here", "there"]
    assert json.loads(lines[0].fields_json) == {"n": 1, "logger": "daemon.test"}
    assert "no number" in capfd.readouterr().err
