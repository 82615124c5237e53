"""A child's pipes and its end, with real processes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys

import psutil
import pytest

from daemon.supervision import child_process
from daemon.supervision.child_process import ChildProcess, LineSplitter
from tests.unit.supervision.harness import LIMIT_S, eventually


class Heard:
    """What a child wrote."""

    def __init__(self) -> None:
        self.reports: list[bytes] = []
        self.output: list[tuple[str, bytes]] = []

    def take_output(self, stream: str, line: bytes) -> None:
        """One line of stdout or stderr."""
        self.output.append((stream, line))

    async def follow(self, process: ChildProcess) -> int:
        """Its return code, once all is heard."""
        async with asyncio.timeout(LIMIT_S):
            return await process.follow(self.reports.append, self.take_output)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody has buried yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def spawn(code: str) -> ChildProcess:
    """A child that runs ``code``; argv holds its descriptors."""
    return child_process.spawn(
        lambda report_fd, life_fd: [sys.executable, "-c", code, str(report_fd), str(life_fd)],
        os.environ,
    )


async def test_everything_that_a_child_says_is_heard_before_its_end() -> None:
    """Last words explain a death."""
    heard = Heard()
    code = (
        "import os, sys; os.write(int(sys.argv[1]), b'one\\ntwo'); "
        "print('out'); sys.stderr.write('10%\\r20%\\rlast words'); sys.exit(7)"
    )
    assert await heard.follow(spawn(code)) == 7
    assert heard.reports == [b"one", b"two"]
    assert sorted(heard.output) == [
        ("stderr", b"10%"),
        ("stderr", b"20%"),
        ("stderr", b"last words"),
        ("stdout", b"out"),
    ]


async def test_the_end_is_noticed_though_a_grandchild_holds_the_pipes() -> None:
    """And the grandchild ends with it."""
    heard = Heard()
    code = (
        "import subprocess, sys, os; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); "
        "print(p.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    assert await heard.follow(spawn(code)) == -signal.SIGKILL
    [(_, pid)] = heard.output
    await eventually(lambda: gone(int(pid)))


async def test_a_child_dies_with_the_task_that_follows_it() -> None:
    """A failing supervisor leaves nothing behind."""
    heard = Heard()
    process = spawn("import time; print('up', flush=True); time.sleep(300)")
    task = asyncio.create_task(heard.follow(process))
    await eventually(lambda: bool(heard.output))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: gone(process.pid))


async def test_no_descriptor_leaks() -> None:
    """A rank may restart for months; the waiting thread and both pipes are gone after each."""
    gc.collect()  # what earlier tests left must not be counted as ours, nor go meanwhile
    before = psutil.Process().num_fds()
    for _ in range(3):
        await Heard().follow(spawn(""))
        with pytest.raises(OSError, match="No such file"):
            child_process.spawn(lambda *_: ["/nowhere/python"], {})
    # Transports close their pipes in the loop's next turn; a leak would be at least three.
    await eventually(lambda: psutil.Process().num_fds() <= before)


async def test_lines_longer_than_the_limit_lose_their_rest() -> None:
    """However the pipe cuts them."""
    lines: list[bytes] = []
    splitter = LineSplitter(lines.append, 10, b"\n")
    for piece in (b"short\n\n  \n", b"x" * 7, b"y" * 7, b"z" * 50, b"\nne", b"xt\n", b"end"):
        splitter.data_received(piece)
    splitter.connection_lost(None)
    splitter.connection_lost(None)
    assert lines == [b"short", b"xxxxxxxyyy", b"next", b"end"]
