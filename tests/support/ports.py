"""Free ports for tests: nothing in the suite listens on a fixed one.

They are taken from outside the range that the kernel gives to outgoing connections, so that none is
taken by a stranger between the look and the use.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MACOS_EPHEMERAL = (49152, 65535)
_random = random.Random()  # unseeded: every process must look elsewhere


def free_ports(count: int) -> list[int]:
    """``count`` different ports that were free a moment ago."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_block(1))
    return sorted(ports)


def free_block(count: int) -> int:
    """First of ``count`` consecutive ports that were free a moment ago."""
    low, high = _range()
    for _ in range(500):
        first = _random.randrange(low, high - count)
        if all(_is_free(first + n) for n in range(count)):
            return first
    raise RuntimeError(f"no {count} consecutive free ports")


def _range() -> tuple[int, int]:
    """The larger part of 1024 to 65535 that outgoing connections don't use."""
    low, high = _MACOS_EPHEMERAL
    if _EPHEMERAL.exists():
        low, high = map(int, _EPHEMERAL.read_text().split())
    return max((2000, low), (high + 1, 65536), key=lambda part: part[1] - part[0])


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
