"""One link without a network: what it lets onto a stream, and when."""

from __future__ import annotations

import threading
from typing import Any

from daemon.comm.frames import PROTOCOL, Hello, Incarnation, Kind, pack_header
from daemon.comm.link import Link
from daemon.comm.server import PushStream
from daemon.comm.settings import CommSettings


class FakeStream:
    """Takes frames."""

    def __init__(self) -> None:
        self.ready = self.busy = False
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        """Keep it."""
        self.frames.append(frame)

    def cancel(self) -> None:
        """Nothing to end."""


class FakeCall:
    """The stream from the peer, which does not come."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Its reader is to try again."""
        self.cancelled = True


def alone() -> Link:
    """A link whose peer has not been seen yet."""
    nothing: Any = lambda *_: None  # noqa: E731 - five hooks that do nothing
    settings = CommSettings(0, (("127.0.0.1", 1), ("127.0.0.1", 2)), boot_id="me")
    return Link(1, settings, nothing, nothing, nothing, nothing, nothing)


def dialled_by(link: Link, boot_id: str) -> FakeStream:
    """The peer asks for a stream."""
    stream = FakeStream()
    link.attach(Hello(PROTOCOL, "local", 0, 2, 1, 0, 0, (boot_id, 0), ("", 0), 0), stream)
    return stream


def connecting() -> tuple[Link, FakeStream, Any]:
    """A link with streams both ways, whose own welcome has not left yet."""
    link = alone()
    stream = dialled_by(link, "peer")
    inbox = link.welcomed(link.hello(0), Incarnation("peer"))
    return link, stream, inbox


def test_nothing_overtakes_the_welcome() -> None:
    """A peer's heartbeat does not prove that it has our welcome; a message of it does."""
    link, stream, inbox = connecting()
    link.receive(0, inbox, pack_header(Kind.ACK, 0, 0, 0))
    assert not stream.ready
    assert link.state.value == "connecting"
    link.receive(0, inbox, pack_header(Kind.DATA, 1, 1, 0))
    assert stream.ready
    assert link.state.value == "up"


def test_a_peer_that_is_back_is_dialled_at_once() -> None:
    """Else every stream waits with gRPC, which lets up to 0.25 s pass between two tries."""
    link, first, waiting = alone(), FakeCall(), FakeCall()
    link.calling(0, first)
    dialled_by(link, "peer")
    assert first.cancelled
    assert [link.needs_new_channel(0) for _ in range(2)] == [True, False]
    link.calling(0, waiting)
    dialled_by(link, "peer")  # again, in the same life: the reader is about its business
    assert not waiting.cancelled
    link.welcomed(link.hello(0), Incarnation("peer"))
    dialled_by(link, "peer")
    assert not link.needs_new_channel(0)
    dialled_by(link, "peer, born again")
    assert waiting.cancelled
    assert link.needs_new_channel(0)


def test_a_call_that_comes_too_late_is_ended_as_well() -> None:
    """The peer may dial between the reader's look and its call."""
    link, late = alone(), FakeCall()
    dialled_by(link, "peer")
    link.calling(0, late)
    assert late.cancelled


def test_two_threads_never_write_to_a_stream_at_once() -> None:
    """A call of gRPC allows one message under way: a second one would kill its sender's thread."""
    inside, overlaps = threading.Semaphore(1), []
    entered = threading.Event()

    def push(_frame: bytes | None) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(1)
            return
        entered.set()
        threading.Event().wait(0.05)
        inside.release()

    context: Any = None
    stream = PushStream(context, push)
    threads = [threading.Thread(target=stream.send, args=(b"x",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entered.is_set()
    assert overlaps == []
