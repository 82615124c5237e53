"""A program on a pseudo terminal: what it writes, and how soon a key shows.

One reader, one thread; every wait has a limit.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

from daemon.errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S = 30.0
TAIL_BYTES = 65536


class BenchTerminal:
    """The program and its terminal; a context manager that ends it."""

    def __init__(self, command: Sequence[str], width: int, height: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environ = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        os.close(slave)
        self.bytes_read = 0
        self._tail = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def press(self, key: bytes, shows: bytes, limit_s: float = LIMIT_S) -> float:
        """Seconds from a key press until ``shows`` has come out, or ``limit_s``.

        Raises:
            StartFailed: the program has ended.
        """
        self._tail = b""
        pressed_s = time.perf_counter()
        os.write(self._master, key)
        came = self._await(shows, limit_s)
        return time.perf_counter() - pressed_s if came else limit_s

    def wait_for(self, text: bytes) -> None:
        """Read on until ``text`` has come.

        Raises:
            StartFailed: it does not come.
        """
        if not self._await(text, LIMIT_S):
            raise StartFailed(f"never showed {text!r}; the last: {self._tail[-500:]!r}")

    def _await(self, text: bytes, limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while text not in self._tail:
            if self.process.poll() is not None:
                raise StartFailed(f"it ended before {text!r}; the last: {self._tail[-500:]!r}")
            if time.monotonic() > deadline_s:
                return False
            self._read(0.1)
        return True

    def read_for(self, seconds: float) -> None:
        """Read whatever comes."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._read(left_s)

    def _read(self, wait_s: float) -> None:
        if select.select([self._master], [], [], wait_s)[0]:
            with contextlib.suppress(OSError):  # it has ended: its caller finds out
                data = os.read(self._master, 65536)
                self.bytes_read += len(data)
                self._tail = (self._tail + data)[-TAIL_BYTES:]
