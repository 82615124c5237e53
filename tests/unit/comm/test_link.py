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


def connecting() -> tuple[Link, FakeStream, Any]:
    """A link with streams both ways, whose own welcome has not left yet."""
    nothing: Any = lambda *_: None  # noqa: E731 - five hooks that do nothing
    settings = CommSettings(0, (("127.0.0.1", 1), ("127.0.0.1", 2)), boot_id="me")
    link = Link(1, settings, nothing, nothing, nothing, nothing, nothing)
    stream = FakeStream()
    link.attach(Hello(PROTOCOL, "local", 0, 2, 1, 0, 0, ("peer", 0), ("", 0), 0), stream)
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
