"""Links that break at the worst moments: nothing is lost, doubled or out of order."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from daemon.comm.communicator import Communicator
from daemon.comm.settings import CommSettings
from daemon.errors import PeerLost, SendTimeout
from tests.core.conftest import free_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.core.conftest import ProxiedPair

COUNT = 1500


@pytest.fixture
def pair(
    proxied_pair: ProxiedPair,
) -> Iterator[Callable[..., tuple[Communicator, Communicator, list[Any]]]]:
    """Two communicators in this process that see each other through proxies."""
    made: list[Communicator] = []

    def make(**changes: Any) -> tuple[Communicator, Communicator, list[Any]]:
        for rank, view in proxied_pair.views.items():
            made.append(Communicator(CommSettings(rank, tuple(view), **changes)))
            made[-1].start()
        return made[0], made[1], proxied_pair.proxies

    yield make
    closing = [threading.Thread(target=each.close) for each in made]
    for each in closing:
        each.start()
    for each in closing:
        each.join()


def exchange(left: Communicator, right: Communicator, count: int) -> None:
    """Numbered messages both ways at once, small ones and some large ones."""
    failures: list[BaseException] = []

    def talk(me: Communicator, peer: int) -> None:
        try:
            for number in range(count):
                size = 300_000 if number % 300 == 7 else number % 50
                me.send(peer, np.full(size + 1, number))
        except BaseException as error:  # noqa: BLE001 - the thread's boundary
            failures.append(error)

    def listen(me: Communicator, peer: int) -> None:
        try:
            for number in range(count):
                got = me.recv(peer, timeout_s=20)
                assert int(got[0]) == number == int(got[-1])
        except BaseException as error:  # noqa: BLE001 - the thread's boundary
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(me, peer))
        for me, peer in ((left, 1), (right, 0))
        for work in (talk, listen)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_resets_under_load_lose_and_double_nothing(pair: Callable[..., Any]) -> None:
    """Connections are reset every 50 ms while messages flow both ways."""
    left, right, proxies = pair(peer_timeout_s=10.0)
    stop = threading.Event()

    def break_links() -> None:
        turn = 0
        while not stop.wait(0.05):
            proxies[turn % 2].cut()
            turn += 1

    breaking = threading.Thread(target=break_links)
    breaking.start()
    try:
        exchange(left, right, COUNT)
    finally:
        stop.set()
        breaking.join()


def test_connections_that_die_inside_a_message(pair: Callable[..., Any]) -> None:
    """Every connection ends after 1.5 MB, in the middle of whatever is under way."""
    left, right, proxies = pair(peer_timeout_s=10.0)
    for proxy in proxies:
        proxy.break_after = 1_500_000
    exchange(left, right, COUNT)


def test_a_long_interruption_is_a_loss_and_then_a_new_session(pair: Callable[..., Any]) -> None:
    """Past the peer time-out both sides give up; when the link is back, both start afresh."""
    left, right, proxies = pair(peer_timeout_s=0.8)
    left.send(1, "before")
    assert right.recv(0) == "before"
    for proxy in proxies:
        proxy.freeze()
    began = time.monotonic()
    with pytest.raises(PeerLost, match="no contact"):
        left.recv(1, timeout_s=20)
    assert time.monotonic() - began < 0.8 + 1.75 + 1.0
    with pytest.raises(PeerLost):
        left.send(1, "lost")
    for proxy in proxies:
        proxy.thaw()
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        try:
            left.send(1, "after", timeout_s=1)
            break
        except (PeerLost, SendTimeout):
            time.sleep(0.02)
    assert right.recv(0, timeout_s=10) == "after"


def test_a_slow_receiver_holds_the_sender_back(pair: Callable[..., Any]) -> None:
    """What nobody takes is bounded: the sender is told to wait, and then goes on."""
    left, right, _ = pair(mailbox_bytes=100_000)
    payload = bytes(100_000)
    sent = 0

    def flood() -> None:
        nonlocal sent
        while sent < 1000:
            left.send(1, payload, timeout_s=0.3)
            sent += 1

    with pytest.raises(SendTimeout, match="is slow"):
        flood()
    assert 100 < sent < 400  # 16 MB of window, then no more
    for _ in range(sent):
        assert len(right.recv(0, timeout_s=10)) == len(payload)
    left.send(1, b"again", timeout_s=10)
    assert right.recv(0, timeout_s=10) == b"again"


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"cluster": "other"}, "cluster"), ({"epoch": 2}, "epoch")],
    ids=["cluster", "epoch"],
)
def test_a_stranger_is_refused(changes: dict[str, Any], what: str) -> None:
    """Ranks of another cluster or epoch are told why, and so is who waits for them."""
    addresses = tuple(free_addresses(2))
    left = Communicator(CommSettings(0, addresses))
    right = Communicator(CommSettings(1, addresses, **changes))
    try:
        left.start()
        right.start()
        with pytest.raises(SendTimeout, match=f"refuses: .*{what}"):
            left.send(1, 1, timeout_s=1.0)
    finally:
        left.close()
        right.close()
