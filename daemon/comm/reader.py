"""The thread that reads one lane of a link: asks the peer for its frames, again and again.

Whoever has the role reads (gRPC's single-threaded unary stream is driven by its caller). A thread
that waits for a message takes the role over and leads, which saves it a thread switch per message;
the reader's own thread takes the role back when nobody has led for a few milliseconds.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc

from daemon.comm.frames import HEADER_BYTES, Incarnation, Kind, unpack_fields, unpack_header
from daemon.errors import CodecError, HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.comm.frames import Hello
    from daemon.comm.link import Link
    from daemon.comm.mailbox import Waiter
    from daemon.comm.session import Inbox

log = logging.getLogger(__name__)

METHOD = "/mlxconsole.v1.Link/Frames"
RETRY_S = 0.02
REFUSED_RETRY_S = 0.25
GRACE_S = 0.004
"""Who has led is likely to come back: leave the role free for this long."""
GRACE_MAX_S = 0.032
OVERDUE_S = 0.02


class Reader:
    """Keeps one stream from the peer open until closed."""

    def __init__(self, link: Link, number: int, open_channel: Callable[[], grpc.Channel]) -> None:
        self._link = link
        self._number = number
        self._open_channel = open_channel
        self._channel = open_channel()
        self._closed = threading.Event()
        self._role = threading.Lock()
        """Who holds it may read from the stream."""
        self._stream: tuple[Any, Inbox] | None = None
        self._failure: Exception | None = None
        self._candidates: deque[Waiter] = deque(maxlen=64)
        self._parked = threading.Event()
        self._leads = 0
        self._deadline = math.inf
        """Of who leads."""
        name = f"comm-read-{link.peer}-{number}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop; the link has cancelled the call, or does so now."""
        self._closed.set()
        self._parked.set()

    def lead(self, waiter: Waiter, deadline: float) -> None:
        """Read the stream in the calling thread until its message is there, if that can be.

        Returns early when the message has to come another way: from the bulk lane, after a
        reconnect, or through the thread that has the role.
        """
        if not self._role.acquire(blocking=False):
            self._candidates.append(waiter)
            waiter.wait(deadline - time.monotonic())
            if waiter.over or not self._role.acquire(blocking=False):
                return
        self._deadline = deadline
        try:
            self._lead(waiter, deadline)
        finally:
            self._deadline = math.inf
            self._leads += 1
            self._role.release()

    def watch(self) -> None:
        """End the wait of a leader whose time is over; the stream is asked for again."""
        stream = self._stream
        if stream is not None and time.monotonic() > self._deadline + OVERDUE_S:
            stream[0].cancel()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread, then close the channel."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._channel.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            pause_s = self._read_once()
            self._closed.wait(pause_s)

    def _read_once(self) -> float:
        """Read one stream to its end; how long to wait before the next."""
        link = self._link
        if link.needs_new_channel(self._number):
            self._channel.close()
            self._channel = self._open_channel()
        hello = link.hello(self._number)
        frames = self._channel.unary_stream(METHOD, None, None)
        call: Any = frames(hello.pack(), wait_for_ready=True)
        link.calling(self._number, call)
        if self._closed.is_set():
            call.cancel()
        reason, pause_s = "the stream from it ended", RETRY_S
        try:
            self._read(hello, call)
        except (CodecError, HandshakeRefused) as error:
            reason = str(error)
            log.info("stream_refused", extra={"fields": {"peer": link.peer, "reason": reason}})
        except grpc.RpcError as error:
            reason, pause_s = self._judge(error)
        finally:
            call.cancel()
            link.calling(self._number, None)
        link.unwelcomed(self._number, reason)
        link.drain_events()
        return pause_s

    def _read(self, hello: Hello, call: Any) -> None:
        inbox = self._welcome(hello, next(call, b""))
        receive, number = self._link.receive, self._number
        self._failure = None
        self._stream = (call, inbox)
        try:
            while self._failure is None:
                with self._role:
                    if self._failure is None:
                        receive(number, inbox, next(call))
                if self._candidates:
                    self._park()
            raise self._failure
        except StopIteration:
            return
        finally:
            self._stream = None

    def _lead(self, waiter: Waiter, deadline: float) -> None:
        link, number = self._link, self._number
        tag, receive = waiter.tag, link.receive
        while waiter.message is None and waiter.error is None and time.monotonic() < deadline:
            stream = self._stream
            if stream is None or self._failure or link.awaits_bulk(tag):
                self._parked.set()
                return
            try:
                receive(number, stream[1], next(stream[0]))
            except (StopIteration, grpc.RpcError, CodecError) as error:
                self._failure = error
                self._parked.set()

    def _park(self) -> None:
        """Leave the role to those who wait for messages, until they stay away."""
        while self._candidates:
            self._candidates.popleft().wake()
        pause_s, leads = GRACE_S, self._leads
        while not self._parked.wait(pause_s):
            if self._role.locked():
                pause_s = min(pause_s * 1.5, GRACE_MAX_S)
            elif leads == self._leads:
                return
            else:
                pause_s, leads = GRACE_S, self._leads
        if not self._closed.is_set():
            self._parked.clear()

    def _welcome(self, hello: Hello, frame: bytes) -> Inbox:
        if unpack_header(frame).kind != Kind.WELCOME:
            raise CodecError("the stream does not begin with a welcome")
        fields = unpack_fields(memoryview(frame)[HEADER_BYTES:])
        match fields.get("mine"):
            case [str(boot_id), int(count)]:
                return self._link.welcomed(hello, Incarnation(boot_id, count))
            case _:
                raise CodecError("malformed welcome")

    def _judge(self, error: grpc.RpcError) -> tuple[str, float]:
        code = error.code() if isinstance(error, grpc.Call) else None
        details = (error.details() if isinstance(error, grpc.Call) else None) or str(code)
        if code is grpc.StatusCode.FAILED_PRECONDITION:
            if not self._link.refusal:
                fields = {"peer": self._link.peer, "reason": details}
                log.warning("handshake_refused", extra={"fields": fields})
            self._link.refusal = f"refuses: {details}"
            return details, REFUSED_RETRY_S
        return f"the stream from it broke: {details[:200]}", RETRY_S
