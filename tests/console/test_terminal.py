"""The console on a real terminal (a pty): it starts, paints, and gives the terminal back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 30.0
MOST_CPU_S = 3.0
"""To notice that the terminal is gone and to leave; spinning takes as much every 6 s, for ever."""

PROGRAM = """
import signal, sys
from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp

if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
source = FakeSource(seeded.cluster(2))
for rank in range(2):
    source.show(rank, seeded.frame(seeded.status(rank, 2)))
app = ConsoleApp(source)
app.run()
sys.exit(app.return_code or 0)
"""


BUSY_PROGRAM = """
import asyncio, sys
from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp

RANKS = 64

class Chatter(FakeSource):
    async def follow(self, sink):
        talking = asyncio.create_task(self.talk())
        await super().follow(sink)

    async def talk(self):
        ranks = [seeded.status(rank, RANKS) for rank in range(RANKS)]
        for number in range(100_000):
            for rank, status in enumerate(ranks):
                status.counters.tokens_out += 20 + number % 7 + rank
                status.memory.kv_bytes += 3_000_000 * (1 + rank % 3)
                lines = list(seeded.log_lines(rank, 2, seed=number))
                for line in lines:
                    line.time_s += number
                self.show(rank, seeded.frame(status, *lines))
            await asyncio.sleep(0.25)

app = ConsoleApp(Chatter(seeded.cluster(RANKS)))
app.run()
sys.exit(app.return_code or 0)
"""

WAITING_PROGRAM = PROGRAM.replace(
    "app = ConsoleApp(source)",
    """
import asyncio, os, time

def wait():
    os.write(1, b"waits")
    time.sleep(600)

ConsoleApp.on_ready = lambda app: asyncio.get_running_loop().call_later(1.0, wait)
app = ConsoleApp(source)
""",
)


class Terminal:
    """A console on a pty, and all that it has written."""

    def __init__(self, environ: dict[str, str], *arguments: str, program: str = PROGRAM) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm-256color"} | environ,
            start_new_session=True,
        )
        self.slave = slave
        self.output = b""

    def read_until(self, text: bytes) -> None:
        """Read what comes until ``text`` has come."""
        deadline_s = time.monotonic() + LIMIT_S
        while text not in self.output:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"{text!r} never came: {self.output[-2000:]!r}"
            self._read_for(min(left_s, 0.1))

    def end(self) -> int:
        """Read on until the console has ended; its exit code."""
        deadline_s = time.monotonic() + LIMIT_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline_s, "the console does not end"
            self._read_for(0.1)
        self._read_for(0.1)
        return self.process.returncode

    def close(self) -> None:
        """End it, whatever happened."""
        self.process.kill()
        self.process.wait()
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def modes(self) -> dict[str, str]:
        """The last setting (h or l) of every private mode of the terminal."""
        found: dict[str, str] = {}
        for numbers, letter in re.findall(rb"\x1b\[\?([\d;]+)([hl])", self.output):
            found |= dict.fromkeys(numbers.decode().split(";"), letter.decode())
        return found

    def _read_for(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):  # all writers are gone
                self.output += os.read(self.master, 65536)


@pytest.fixture(params=[{}, {"NO_COLOR": "1"}], ids=["colour", "NO_COLOR"])
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """A console that has painted its first picture."""
    made = Terminal(request.param)
    try:
        made.read_until(b"2/2 READY")
        yield made
    finally:
        made.close()


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    """Otherwise the shell is left on the alternate screen, with mouse codes for input."""
    entered = terminal.modes()
    assert entered["1049"] == "h"
    assert entered["1000"] == "h"
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number
    left = terminal.modes()
    assert left["1049"] == "l", "the alternate screen is left"
    assert left["25"] == "h", "the cursor is visible"
    assert {left[mode] for mode in ("1000", "1003", "1006", "2004")} == {"l"}
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.integration
def test_q_gives_the_terminal_back(terminal: Terminal) -> None:
    """The everyday way out."""
    os.write(terminal.master, b"q")
    assert terminal.end() == 0
    assert terminal.modes()["1049"] == "l"
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.integration
def test_a_lost_terminal_ends_the_console(terminal: Terminal) -> None:
    """Without its terminal it would spin: nobody is left to read or to press q.

    The console does not belong to the terminal's session here, so no SIGHUP comes to its help.
    """
    os.close(terminal.slave)
    os.close(terminal.master)
    terminal.process.wait(LIMIT_S)
    assert terminal.process.returncode != 0


@pytest.mark.integration
def test_a_lost_terminal_ends_a_console_that_ignores_sighup() -> None:
    """As under nohup. It must end by itself, and not burn a core until somebody looks."""
    made = Terminal({}, "nohup")
    try:
        made.read_until(b"2/2 READY")
        before_s = cpu_s(made.process.pid)
        os.close(made.slave)
        os.close(made.master)
        while made.process.poll() is None:
            spent_s = cpu_s(made.process.pid) - before_s
            assert spent_s < MOST_CPU_S, "it spins on a terminal that is gone"
            time.sleep(0.02)
        assert made.process.returncode != 0
    finally:
        made.close()


@pytest.mark.integration
def test_a_lost_terminal_ends_a_console_whose_event_loop_waits() -> None:
    """As it would for Textual's writing thread, which dies with the terminal."""
    made = Terminal({}, program=WAITING_PROGRAM)
    try:
        made.read_until(b"waits")
        os.close(made.slave)
        os.close(made.master)
        assert made.process.wait(LIMIT_S) == 128 + signal.SIGHUP
    finally:
        made.close()


@pytest.mark.integration
def test_keys_are_answered_on_a_terminal(terminal: Terminal) -> None:
    """The whole way: the terminal's bytes in, the screen's bytes out."""
    os.write(terminal.master, b"?")
    terminal.read_until(b"Everywhere")
    os.write(terminal.master, b"?j")
    terminal.read_until(b">   1")


@pytest.mark.integration
def test_a_thin_line_stays_usable() -> None:
    """40 KB/s, as over a bad ssh connection, with 64 ranks that chatter: keys still show soon.

    Without skipped paints the output queues up, and a key shows when all before it has gone out.
    """
    made = Terminal({}, program=BUSY_PROGRAM)
    try:
        line = ThinLine(made)
        line.read_until(b"64/64 READY")
        line.read_for(3.0)
        waits_s: list[float] = []
        for rank in (1, 2, 3, 4, 5):
            made.output = b""
            pressed_s = time.monotonic()
            os.write(made.master, b"j")
            line.read_until(f">{rank:>4}".encode())
            waits_s.append(time.monotonic() - pressed_s)
            line.read_for(0.3)
        assert sorted(waits_s)[2] < 4.0, waits_s
        os.write(made.master, b"q")
        assert line.end() == 0
    finally:
        made.close()


class ThinLine:
    """Reads a terminal at 40 KB/s."""

    BYTES, EVERY_S = 2_000, 0.05

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def read_until(self, text: bytes) -> None:
        """Read what comes until ``text`` has come."""
        deadline_s = time.monotonic() + LIMIT_S
        while text not in self._terminal.output:
            assert time.monotonic() < deadline_s, f"{text!r} never came"
            self._read()

    def read_for(self, seconds: float) -> None:
        """Read for so long."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._read()

    def end(self) -> int:
        """Read on until the console has ended; its exit code."""
        deadline_s = time.monotonic() + LIMIT_S
        while self._terminal.process.poll() is None:
            assert time.monotonic() < deadline_s, "the console does not end"
            self._read()
        return self._terminal.process.returncode

    def _read(self) -> None:
        time.sleep(self.EVERY_S)
        master = self._terminal.master
        if select.select([master], [], [], 0)[0]:
            with contextlib.suppress(OSError):
                self._terminal.output += os.read(master, self.BYTES)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process; of one that has gone, none."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system
