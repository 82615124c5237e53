"""Failures of ranks and links, with real processes: the customer's plan, section 2.3."""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def pair(small_world: Any) -> Any:
    """Two ranks that stay well, for checks that break nothing."""
    return small_world


def test_send_to_invalid_rank(pair: Any) -> None:
    """A wrong rank is refused with a named error, at once, and nothing breaks."""
    pair.run("invalid_ranks")


def test_receive_timeout(pair: Any) -> None:
    """A receive ends after its time-out, not much later, and says what it waited for."""
    for took in pair.run("timeouts"):
        assert all(0.3 <= seconds < 1.5 for seconds in took)


@pytest.mark.parametrize("what", ["shape", "dtype", "reduction", "operation"])
def test_ranks_that_disagree_are_told(make_world: Callable[..., Any], what: str) -> None:
    """Different shapes, dtypes or operations: an error on all ranks, and no rank hangs."""
    make_world(3).run("mismatch", what=what)


def test_network_interruption(proxied_world: tuple[Any, list[Any]]) -> None:
    """One second without a network is no error; traffic is back within half a second."""
    world, proxies = proxied_world
    world.run("ping_pong", count=20, size=4096)
    for proxy in proxies:
        proxy.freeze()

    def repair() -> None:
        for proxy in proxies:
            proxy.thaw()

    timer = threading.Timer(1.0, repair)
    timer.start()
    began = time.monotonic()
    trips = world.run("ping_pong", count=20, size=4096)[0]
    timer.join()
    assert 1.0 <= time.monotonic() - began < 3.0
    assert max(trips) < 1.0 + 0.5 + 0.2  # the last is for a busy machine
    for _ in range(3):
        for proxy in proxies:
            proxy.cut()
        world.run("objects")


def test_killed_peer_is_known_at_once(make_world: Callable[..., Any]) -> None:
    """A process that dies is lost within 100 ms (more is allowed to a busy machine)."""
    world = make_world(2)
    world.run("ping_pong", count=5, size=64)
    world.ranks[0].order("receive_until_lost", peer=1, timeout_s=20)
    time.sleep(0.2)  # let the receive begin: the test would pass without, but prove less
    killed = time.time()
    world.ranks[1].process.send_signal(signal.SIGKILL)
    answer = world.ranks[0].answer()
    assert "its process is gone" in answer["reason"]
    report("killed", answer["at"] - killed)
    assert answer["at"] - killed < 0.5


def test_stopped_peer_is_known_then_lost(make_world: Callable[..., Any]) -> None:
    """A stopped process: interrupted within 1.5 s, lost after the peer time-out."""
    world = make_world(2, peer_timeout_s=2.0)
    world.run("ping_pong", count=5, size=64)
    stopped = time.time()
    world.ranks[1].process.send_signal(signal.SIGSTOP)
    world.ranks[0].order("until_interrupted", peer=1, timeout_s=5)
    known = world.ranks[0].answer() - stopped
    report("stopped", known)
    assert known < 2.2  # 1.5 s on an idle machine: docs/benchmarks/communication.md
    answer = world.ranks[0].run("receive_until_lost", peer=1, timeout_s=20)
    assert "no contact" in answer["reason"]
    assert answer["at"] - stopped < 6.0


def test_wedged_peer_is_known_by_its_silence(make_world: Callable[..., Any]) -> None:
    """A process that holds the GIL answers gRPC's pings, but sends no heartbeat."""
    world = make_world(2, peer_timeout_s=10.0)
    world.run("ping_pong", count=5, size=64)
    began = time.time()
    world.ranks[1].order("hold_gil", seconds=3.0)
    known = world.ranks[0].run("until_interrupted", peer=1, timeout_s=5) - began
    report("wedged", known)
    assert known < 2.5
    world.ranks[1].answer()
    world.run("objects")  # it woke up in time: the session goes on


def report(what: str, seconds: float) -> None:
    """A figure for who asks with `pytest -s`."""
    sys.stdout.write(f"{what}: known after {seconds:.3f} s\n")


def test_restarted_peer_begins_a_new_session(make_world: Callable[..., Any]) -> None:
    """A rank that was killed and started again can be talked to without restarting others."""
    world = make_world(2)
    world.run("objects")
    world.ranks[1].process.kill()
    world.ranks[1].dispose()
    world.ranks[0].run("receive_until_lost", peer=1, timeout_s=20)
    world.ranks[1] = world.spawn(1)
    world.ranks[0].run("wait_until_up", peer=1, timeout_s=20)
    world.run("objects")


@pytest.mark.parametrize("kind", ["numpy", "mlx"])
def test_large_message_handling(make_world: Callable[..., Any], kind: str) -> None:
    """A message over 100 MB arrives whole; memory beyond the payload stays under 64 MB a side."""
    world = make_world(2)
    world.run("large_message", megabytes=1, kind=kind)  # what is loaded once is not the message's
    for answer in world.run("large_message", megabytes=160, kind=kind):
        assert answer["extra_mb"] <= 64


@pytest.mark.slow
def test_messages_over_two_gigabytes(make_world: Callable[..., Any]) -> None:
    """Sizes past 2^31 bytes are where 32-bit lengths show."""
    world = make_world(2)
    world.run("large_message", megabytes=1, kind="numpy")
    for answer in world.run("large_message", megabytes=2200, kind="numpy"):
        assert answer["extra_mb"] <= 64


def test_small_messages_pass_a_large_one(make_world: Callable[..., Any]) -> None:
    """A link that is busy with a large message still delivers small ones quickly."""
    world = make_world(2)
    median_ms = world.run("small_beside_large", megabytes=256)[0]
    assert median_ms < 20.0  # the goal of 2 ms is measured by the bench, on a quiet machine


def test_message_over_the_limit_is_refused(make_world: Callable[..., Any]) -> None:
    """Sender's limit and receiver's limit: a named error, and the link stays well."""
    world = make_world(2, max_message_bytes=1_000_000)
    world.run("over_the_limit")
    world.run("objects")
