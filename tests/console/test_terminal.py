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

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 30.0

PROGRAM = """
import sys
from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp

source = FakeSource(seeded.cluster(2))
for rank in range(2):
    source.show(rank, seeded.frame(seeded.status(rank, 2)))
app = ConsoleApp(source)
app.run()
sys.exit(app.return_code or 0)
"""


class Terminal:
    """A console on a pty, and all that it has written."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
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
