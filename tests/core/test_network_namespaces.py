"""A real network that goes down: two ranks in network namespaces, joined by a virtual cable.

Linux and root only. A proxy that stops forwarding keeps its connections; here packets are lost,
and TCP has to find out by itself when they get through again.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.support.namespaces import HOSTS, cable

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_second_without_network_is_survived(make_world: Callable[..., Any]) -> None:
    """No error, nothing lost, and traffic is back within half a second of the link."""
    with cable() as link:
        world = make_world(
            2,
            addresses=[(host, 50100 + rank) for rank, host in enumerate(HOSTS)],
            prefixes={rank: link.command(rank) for rank in range(2)},
        )
        world.run("ping_pong", count=20, size=4096)
        back_at: list[float] = []

        def repair() -> None:
            link.up()
            back_at.append(time.time())

        link.down()
        timer = threading.Timer(1.0, repair)
        timer.start()
        ended = world.run("exchange_until", count=20, size=4096)
        timer.join()
        recovery_s = max(ended) - back_at[0]
        sys.stdout.write(f"recovered {recovery_s:.3f} s after the link\n")  # shown by `pytest -s`
        assert 0.0 < recovery_s < 2.0  # the goal of 0.5 s: docs/benchmarks/communication.md
        world.run("objects")
