"""One running child: starting it, hearing it, signalling its group, noticing its end.

Owns the process and its pipes, from the supervisor's event loop. Knows no policy and no state:
what lines mean and what an end leads to is decided by `child.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_OUTPUT_LINE = 8 * 1024
MAX_REPORT_LINE = 1024 * 1024
_DRAIN_S = 0.5  # for output after the end; the group is dead by then, so it normally takes none

LineTaker = Callable[[bytes], None]


class LineSplitter(asyncio.Protocol):
    """Cuts what a pipe brings into lines; a longer line than ``max_bytes`` loses its rest."""

    def __init__(self, take: LineTaker, max_bytes: int, separator: bytes) -> None:
        self._take = take
        self._max_bytes = max_bytes
        self._separator = re.compile(separator)
        self._begun = b""
        self._skipping = False
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Pass on the lines that are complete."""
        *lines, self._begun = self._separator.split(self._begun + data)
        for line in lines:
            self._finish(line)
        if len(self._begun) > self._max_bytes:
            self._finish(self._begun)
            self._begun, self._skipping = b"", True

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on what has no end."""
        del exc
        self._finish(self._begun)
        self._begun = b""
        if not self.closed.done():
            self.closed.set_result(None)

    def _finish(self, line: bytes) -> None:
        if line.strip() and not self._skipping:
            self._take(line[: self._max_bytes])
        self._skipping = False


class ChildProcess:
    """A process in a session and group of its own, and the pipes to it.

    Its own session, so that Ctrl-C at the terminal reaches the supervisor alone, which then ends
    the children in order; its own group, so that nothing the child started outlives it.
    """

    def __init__(self, process: subprocess.Popen[bytes], report: IO[bytes], life_fd: int) -> None:
        self._process = process
        self._report = report
        self._stdout = cast("IO[bytes]", process.stdout)
        self._stderr = cast("IO[bytes]", process.stderr)
        self._stdin = process.stdin
        self._unread: list[IO[bytes]] = [self._report, self._stdout, self._stderr]
        self._read: list[asyncio.ReadTransport] = []
        self._life_fds = [life_fd]
        self._ended = _end_of(process)

    @property
    def pid(self) -> int:
        """Process id, and the id of its group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._process.returncode is not None

    def tell(self, line: bytes) -> None:
        """Write a line to its standard input, which must be a pipe, and close that.

        Raises:
            OSError: it does not read: it has ended, or is not ours to tell.
        """
        if self._stdin is None or self.ended:
            raise BrokenPipeError(f"process {self.pid} reads no standard input")
        with self._stdin as pipe:
            pipe.write(line)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and everything that it started; no harm if all are gone."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def command(self, line: bytes) -> bool:
        """Write a command to its lifeline; whether it was taken, which a stuck child does not."""
        try:
            return bool(self._life_fds) and os.write(self._life_fds[0], line) == len(line)
        except OSError:  # gone, or its pipe is full
            return False

    async def follow(
        self,
        on_report: LineTaker,
        on_output: Callable[[str, bytes], None],
    ) -> int:
        """Pass on its lines until it has ended; the return code (negative: a signal).

        A child that still runs when this is cancelled is killed.
        """
        try:
            lines = [
                await self._read_lines(self._report, on_report, MAX_REPORT_LINE, b"\n"),
                await self._read_lines(
                    self._stdout, lambda line: on_output("stdout", line), MAX_OUTPUT_LINE, b"[\r\n]"
                ),
                await self._read_lines(
                    self._stderr, lambda line: on_output("stderr", line), MAX_OUTPUT_LINE, b"[\r\n]"
                ),
            ]
            return_code = await self._ended
            self.signal_group(signal.SIGKILL)
            await asyncio.wait([splitter.closed for splitter in lines], timeout=_DRAIN_S)
            return return_code
        finally:
            self.close()

    def close(self) -> None:
        """Let go of it: kill what lives, close its pipes. Twice does no harm."""
        if self._process.returncode is None:
            self.signal_group(signal.SIGKILL)
        if self._stdin is not None:
            with suppress(OSError):
                self._stdin.close()
        for transport in self._read:
            transport.close()
        while self._unread:
            self._unread.pop().close()
        while self._life_fds:
            os.close(self._life_fds.pop())

    async def _read_lines(
        self, pipe: IO[bytes], take: LineTaker, max_bytes: int, separator: bytes
    ) -> LineSplitter:
        transport, splitter = await asyncio.get_running_loop().connect_read_pipe(
            lambda: LineSplitter(take, max_bytes, separator), pipe
        )
        self._unread.remove(pipe)
        self._read.append(transport)
        return splitter


def spawn(
    command_for: Callable[[int, int], list[str]],
    environment: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
) -> ChildProcess:
    """Start a child.

    Args:
        command_for: the arguments, given the child's ends of report pipe and lifeline.
        environment: all of the child's environment.
        stdin: `subprocess.PIPE` for one that is told something later.

    Raises:
        OSError: no such program, or no file descriptor, memory or process left.
    """
    fds: list[int] = []
    try:
        fds += os.pipe()
        fds += os.pipe()
        report_read, report_write, life_read, life_write = fds
        process = subprocess.Popen(
            command_for(report_write, life_read),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(report_write, life_read),
            env=dict(environment),
            start_new_session=True,
        )
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    os.close(report_write)
    os.close(life_read)
    os.set_blocking(life_write, False)
    return ChildProcess(process, os.fdopen(report_read, "rb", 0), life_write)


def _end_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Its return code, from a thread of its own, which notices the end at once on every system."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def wait() -> None:
        return_code = process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, return_code)

    def settle(return_code: int) -> None:
        if not ended.done():
            ended.set_result(return_code)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()
    return ended
