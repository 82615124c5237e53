"""Children that live and do nothing are noticed by their silence, and replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from daemon.supervision.child_spec import EXIT_STUCK
from daemon.supervision.exit_cause import Evidence, describe
from tests.unit.supervision.harness import Daemon, make_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
READY = 4


@pytest.mark.parametrize("child", ["worker", "api"])
async def test_a_stopped_child_is_noticed_and_replaced(tmp_path: Path, child: str) -> None:
    """SIGSTOP: the process is there, its sockets are open, and nothing moves."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        first = await daemon.until_ready()
        stopped_s = time.time()
        os.kill(first.worker_pid if child == "worker" else first.api.pid, signal.SIGSTOP)
        if child == "worker":
            after = await daemon.until(lambda now: now.state == READY and now.generation == 2)
            cause = after.exit_cause
            assert after.api.pid == first.api.pid
        else:
            after = await daemon.until(lambda now: now.api.state == READY and now.api.restarts == 1)
            cause = after.api.exit_cause
            assert after.worker_pid == first.worker_pid
        assert cause.startswith("stuck, no report for 2.0 s (it is stopped)")
        async for frame in daemon.client.watch():
            [stuck] = [event for event in frame.events if event.kind == "stuck"]
            assert 1.0 < stuck.time_s - stopped_s < 4.0  # 3 s on a machine that is not loaded
            assert [event.kind for event in frame.events].count("recovered") == 1
            break


async def test_a_pause_shorter_than_the_patience_is_forgiven(tmp_path: Path) -> None:
    """A machine that swaps, or a debugger that attaches."""
    async with Daemon(tmp_path, make_settings(), worker="obey") as daemon:
        first = await daemon.until_ready()
        os.kill(first.worker_pid, signal.SIGSTOP)
        seen = 0
        async for _ in daemon.client.watch():
            seen += 1
            if seen == 5:  # frames come every 0.25 s
                break
        os.kill(first.worker_pid, signal.SIGCONT)
        seen = 0
        async for frame in daemon.client.watch():
            assert frame.status.worker_pid == first.worker_pid
            seen += 1
            if seen == 12:
                break


def test_a_worker_that_hangs_says_where_and_ends() -> None:
    """The supervisor takes the last line for the cause; the stacks go to the log."""
    code = "from daemon import worker; worker._end_stuck('step 7 hangs')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_STUCK
    lines = done.stderr.splitlines()
    assert lines[-1] == "step 7 hangs"
    assert any("worker.py" in line for line in lines)
    evidence = Evidence(done.returncode, last_stderr_line=lines[-1])
    assert describe(evidence) == "exit code 70: step 7 hangs"
