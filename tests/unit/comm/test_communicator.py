"""Two communicators in one process: real gRPC on loopback, the contract of the actor face."""

from __future__ import annotations

import queue
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from daemon.comm.communicator import Communicator
from daemon.comm.settings import CommSettings
from daemon.errors import (
    CodecError,
    CommError,
    InvalidRank,
    MessageTooLarge,
    PeerLost,
    PortInUse,
    RecvTimeout,
    SendTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.comm.events import Message, PeerEvent

WAIT_S = 10.0


def free_addresses(count: int) -> tuple[tuple[str, int], ...]:
    """Addresses on loopback that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(each.getsockname() for each in sockets)
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture
def start() -> Iterator[Callable[..., Communicator]]:
    """Makes started communicators and closes them; none may leave a thread behind."""
    made: list[Communicator] = []

    def make(rank: int, addresses: tuple[tuple[str, int], ...], **changes: object) -> Communicator:
        settings = CommSettings(rank, addresses, **changes)  # pyright: ignore[reportArgumentType]
        communicator = Communicator(settings)
        communicator.start()
        made.append(communicator)
        return communicator

    yield make
    closing = [threading.Thread(target=each.close) for each in made]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()
    assert [each.name for each in threading.enumerate() if each.name.startswith("comm-")] == []


def test_posted_messages_reach_the_listener_in_order(start: Callable[..., Communicator]) -> None:
    """The pipeline relies on the order per (source, tag)."""
    addresses = free_addresses(2)
    left, right = start(0, addresses), start(1, addresses)
    got: queue.Queue[Message] = queue.Queue()
    for number in range(50):  # before anyone listens
        left.post(1, 7, number.to_bytes(4, "little"))
    right.listen(7, got.put)
    for number in range(50, 500):
        left.post(1, 7, number.to_bytes(4, "little"))
    messages = [got.get(timeout=WAIT_S) for _ in range(500)]
    assert [int.from_bytes(each.payload, "little") for each in messages] == list(range(500))
    assert {(each.source, each.tag) for each in messages} == {(0, 7)}


def test_peer_events_tell_of_arrival_and_departure(start: Callable[..., Communicator]) -> None:
    """Rank 0 starts an epoch when it sees a new life of a rank."""
    addresses = free_addresses(2)
    left = start(0, addresses)
    events: queue.Queue[PeerEvent] = queue.Queue()
    left.on_peer(events.put)
    for boot_id in ("first", "second"):
        right = start(1, addresses, boot_id=boot_id)
        up = events.get(timeout=WAIT_S)
        assert (up.rank, up.kind, up.boot_id) == (1, "up", boot_id)
        right.send(0, boot_id)
        right.close()
        lost = events.get(timeout=WAIT_S)
        assert (lost.rank, lost.kind, lost.boot_id) == (1, "lost", boot_id)
        assert left.recv(1) == boot_id


def test_a_late_observer_hears_of_peers_that_are_up(start: Callable[..., Communicator]) -> None:
    """Whoever registers after `start` must not miss a peer."""
    addresses = free_addresses(2)
    left, right = start(0, addresses), start(1, addresses, boot_id="there")
    right.send(0, "hello")
    assert left.recv(1, timeout_s=WAIT_S) == "hello"
    events: list[PeerEvent] = []
    left.on_peer(events.append)
    assert [(each.kind, each.boot_id) for each in events] == [("up", "there")]


def test_errors_say_who_and_how_long(start: Callable[..., Communicator]) -> None:
    """Every wait has an end, and its error names rank, peer and tag."""
    addresses = free_addresses(2)
    left = start(0, addresses)
    with pytest.raises(InvalidRank, match="rank 2 does not exist"):
        left.post(2, 1, b"")
    with pytest.raises(InvalidRank, match="is this rank itself"):
        left.post(0, 1, b"")
    with pytest.raises(SendTimeout, match="rank 1 has not come up yet"):
        left.post(1, 1, b"", timeout_s=0.05)
    with pytest.raises(RecvTimeout) as caught:
        left.recv(1, tag=3, timeout_s=0.05)
    assert (caught.value.rank, caught.value.peer, caught.value.tag) == (0, 1, 3)
    assert caught.value.elapsed_s is not None
    right = start(1, addresses)
    right.send(0, None)
    left.recv(1, timeout_s=WAIT_S)
    right.close()
    with pytest.raises(PeerLost, match="rank 1 is lost: it left"):
        left.recv(1, timeout_s=WAIT_S)
    with pytest.raises(PeerLost):
        left.post(1, 1, b"")


def test_every_error_names_rank_peer_tag_and_time(start: Callable[..., Communicator]) -> None:
    """A log line of any of them must be enough to know which call of which rank it was."""
    addresses = free_addresses(2)
    left = start(0, addresses, max_message_bytes=10_000)
    right = start(1, addresses, max_message_bytes=10_000)
    right.post(0, 8, b"no encoded value")
    failing: list[tuple[type[CommError], Callable[[], object]]] = [
        (InvalidRank, lambda: left.send(7, 1, tag=3)),
        (InvalidRank, lambda: left.recv(7, tag=3)),
        (InvalidRank, lambda: left.recv(0, tag=3)),
        (MessageTooLarge, lambda: left.send(1, bytes(20_000), tag=3)),
        (CodecError, lambda: left.send(1, object(), tag=3)),
        (CodecError, lambda: left.recv(1, tag=8, timeout_s=WAIT_S)),
        (RecvTimeout, lambda: left.recv(1, tag=3, timeout_s=0.05)),
        (RecvTimeout, lambda: left.all_reduce(1, timeout_s=0.05)),
    ]
    for kind, call in failing:
        check_fields(kind, call)
    waiting = threading.Thread(target=lambda: (time.sleep(0.1), right.close()))
    waiting.start()
    check_fields(PeerLost, lambda: left.recv(1, tag=3, timeout_s=WAIT_S))
    waiting.join()
    check_fields(PeerLost, lambda: left.send(1, 1, tag=3))
    check_fields(PeerLost, left.barrier)


def check_fields(kind: type[CommError], call: Callable[[], object]) -> None:
    """A call must fail with an error that says everything."""
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert error.rank == 0, error
    assert None not in (error.peer, error.tag, error.elapsed_s), error


def test_a_taken_port_is_named(start: Callable[..., Communicator]) -> None:
    """Two daemons of one rank are a common mistake."""
    addresses = free_addresses(2)
    start(0, addresses)
    second = Communicator(CommSettings(0, addresses))
    with pytest.raises(PortInUse, match=str(addresses[0][1])):
        second.start()
    second.close()
