"""The thread that reads one lane of a link: asks the peer for its frames, again and again.

The calling thread drives the call itself (gRPC's single-threaded unary stream), which saves a
thread switch per message.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import grpc

from daemon.comm.frames import HEADER_BYTES, Incarnation, Kind, unpack_fields, unpack_header
from daemon.errors import CodecError, HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.comm.frames import Hello
    from daemon.comm.link import Link
    from daemon.comm.session import Inbox

log = logging.getLogger(__name__)

METHOD = "/mlxconsole.v1.Link/Frames"
RETRY_S = 0.02
REFUSED_RETRY_S = 0.25


class Reader:
    """Keeps one stream from the peer open until closed."""

    def __init__(self, link: Link, number: int, channel: grpc.Channel) -> None:
        self._link = link
        self._number = number
        self._channel = channel
        self._frames = channel.unary_stream(METHOD, None, None)
        self._closed = threading.Event()
        name = f"comm-read-{link.peer}-{number}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop; the link has cancelled the call, or does so now."""
        self._closed.set()

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
        hello = link.hello(self._number)
        call: Any = self._frames(hello.pack(), wait_for_ready=True)
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

    def _read(self, hello: Hello, call: Iterator[bytes]) -> None:
        inbox = self._welcome(hello, next(call, b""))
        receive, number = self._link.receive, self._number
        for frame in call:
            receive(number, inbox, frame)

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
