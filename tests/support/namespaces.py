"""Network namespaces joined by a virtual cable, for tests of real outages. Linux and root only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

IP = shutil.which("ip") or ""
HOSTS = ("10.231.7.1", "10.231.7.2")
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Cable:
    """Two namespaces whose only way to each other is a pair of virtual interfaces."""

    names: tuple[str, str]

    def command(self, end: int) -> list[str]:
        """What goes before a command that is to run at one end."""
        return [IP, "netns", "exec", self.names[end]]

    def down(self) -> None:
        """Pull the cable: what is sent is lost."""
        _ip("-n", self.names[0], "link", "set", self.names[0], "down")

    def up(self) -> None:
        """Put it back."""
        _ip("-n", self.names[0], "link", "set", self.names[0], "up")

    def enter(self, end: int) -> None:
        """From now on the sockets of this thread are opened at one end."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/var/run/netns/{self.names[end]}").open("rb") as namespace:
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"can't enter {self.names[end]}")


@contextlib.contextmanager
def cable() -> Generator[Cable]:
    """A cable between `HOSTS`; skips the test where there can be none."""
    if not IP or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux, root and the `ip` command")
    one, other = (f"mlxc{os.getpid() % 100_000}{end}" for end in "ab")
    try:
        _ip("netns", "add", one)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        _ip("netns", "add", other)
        _ip("link", "add", one, "netns", one, "type", "veth", "peer", "name", other, "netns", other)
        for name, host in zip((one, other), HOSTS, strict=True):
            _ip("-n", name, "addr", "add", f"{host}/24", "dev", name)
            _ip("-n", name, "link", "set", name, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield Cable((one, other))
    finally:
        for name in (one, other):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


def _ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True, capture_output=True, timeout=10)
