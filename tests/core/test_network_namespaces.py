"""A real network that goes down: two ranks in network namespaces, joined by a virtual cable.

Linux and root only. A proxy that stops forwarding keeps its connections; here packets are lost,
and TCP has to find out by itself when they get through again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IP = shutil.which("ip") or ""
HOSTS = ("10.231.7.1", "10.231.7.2")


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run([IP, *words], check=True, capture_output=True, timeout=10)


@pytest.fixture
def cable() -> Iterator[list[str]]:
    """Names of two namespaces whose only way to each other is a pair of virtual interfaces."""
    if not IP or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux, root and the `ip` command")
    names = [f"mlxc{os.getpid() % 100_000}{end}" for end in "ab"]
    try:
        ip("netns", "add", names[0])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        ip("netns", "add", names[1])
        ip("link", "add", names[0], "netns", names[0], "type", "veth",
           "peer", "name", names[1], "netns", names[1])  # fmt: skip
        for name, host in zip(names, HOSTS, strict=True):
            ip("-n", name, "addr", "add", f"{host}/24", "dev", name)
            ip("-n", name, "link", "set", name, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


def test_a_second_without_network_is_survived(
    cable: list[str], make_world: Callable[..., Any]
) -> None:
    """No error, nothing lost, and traffic is back within half a second of the link."""
    world = make_world(
        2,
        addresses=[(host, 50100 + rank) for rank, host in enumerate(HOSTS)],
        prefixes={rank: [IP, "netns", "exec", name] for rank, name in enumerate(cable)},
    )
    world.run("ping_pong", count=20, size=4096)
    back_at: list[float] = []

    def repair() -> None:
        ip("-n", cable[0], "link", "set", cable[0], "up")
        back_at.append(time.time())

    ip("-n", cable[0], "link", "set", cable[0], "down")
    timer = threading.Timer(1.0, repair)
    timer.start()
    ended = world.run("exchange_until", count=20, size=4096)
    timer.join()
    recovery_s = max(ended) - back_at[0]
    sys.stdout.write(f"recovered {recovery_s:.3f} s after the link\n")  # shown by `pytest -s`
    assert 0.0 < recovery_s < 2.0  # the goal of 0.5 s: docs/benchmarks/communication.md
    world.run("objects")
