"""One lane of a link: its two ends of a session, and the thread that writes its frames.

A link has a lane for small frames and one for bulk, each with streams of its own. Everything here
but `run` is called with the link's lock held. Knows nothing of gRPC: a `Stream` is anything that
takes frames.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from daemon.comm.frames import HEADER, Kind, pack_header
from daemon.comm.link_stats import RoundTrips
from daemon.comm.session import Entry, Inbox, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

ACK_EVERY_FRAMES = 16
ACK_EVERY_BYTES = 64 * 1024
BULK_ACK_EVERY_BYTES = 4 * 1024 * 1024
"""Of a lane without heartbeats: not one per chunk, each wakes a thread at both ends."""
DIRECT_BYTES = 60 * 1024
"""The caller's thread writes a frame itself while this little is under way: HTTP/2 gives every
stream a window of 64 KB, so the write can't block."""
WINDOW_BYTES = 16 * 1024 * 1024
WINDOW_FRAMES = 16384
_pack = HEADER.pack


class Stream(Protocol):
    """Frames towards the peer, in order."""

    ready: bool
    """The welcome has been sent."""
    busy: bool
    """A thread is writing; only that thread changes it back."""

    def send(self, frame: bytes) -> None:
        """Write; blocks under flow control, and returns without an error if the stream died."""
        ...

    def cancel(self) -> None:
        """End it; a blocked `send` returns."""
        ...


class Lane:
    """Session state of one lane and who may write to its stream."""

    def __init__(
        self,
        lock: threading.RLock,
        heartbeat_s: float,
        feed: Callable[[], Entry | None] = lambda: None,
    ) -> None:
        """Nothing is sent when idle if ``heartbeat_s`` is 0.

        ``feed`` makes the next frame when all others are sent (lock held); for bulk.
        """
        self.outbox = Outbox()
        self.inbox = Inbox()
        self.stream: Stream | None = None
        self.inbound = False
        """The peer's stream to us is welcomed and alive."""
        self.hold = False
        """Acknowledge nothing more: what arrived has not been taken yet."""
        self.work = threading.Condition(lock)
        self.bytes_sent = 0
        self.bytes_received = 0
        self.round_trips = RoundTrips()
        self._heartbeat_s = heartbeat_s
        self._ack_every_bytes = ACK_EVERY_BYTES if heartbeat_s else BULK_ACK_EVERY_BYTES
        self._feed = feed
        self._lock = lock
        self._last_probe = 0.0
        self._ack_due = False
        self._ask = False
        self._echo = 0  # number of the peer's probe to answer
        self._closed = False

    def reset(self) -> None:
        """A new session: nothing sent, nothing received, no stream of the old one."""
        self.outbox, self.inbox = Outbox(), Inbox()
        self.inbound = self.hold = False
        self._ack_due = self._ask = False
        self._echo = 0
        self.detach()

    def detach(self) -> None:
        """Give up the stream towards the peer."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.cancel()

    @property
    def has_room(self) -> bool:
        """Whether one more frame may be pushed."""
        outbox = self.outbox
        return outbox.unacknowledged_bytes < WINDOW_BYTES and len(outbox) < WINDOW_FRAMES

    def push(
        self,
        kind: int,
        tag: int,
        parts: Sequence[bytes | memoryview],
        size: int,
        *,
        queue_only: bool = False,
    ) -> tuple[Stream, bytes] | None:
        """Queue a frame. A result is for the caller to write at once, with `write`."""
        outbox, stream = self.outbox, self.stream
        entry = outbox.push(kind, tag, parts, size)
        if (
            stream is None
            or stream.busy
            or not stream.ready
            or queue_only
            or outbox.sent + 1 != len(outbox.entries)
            or outbox.unacknowledged_bytes > DIRECT_BYTES
        ):
            self.work.notify()
            return None
        outbox.sent += 1
        stream.busy = True
        return stream, self._frame(entry)

    def write(self, stream: Stream, frame: bytes) -> None:
        """Write what `push` gave, without the lock."""
        try:
            stream.send(frame)
        except Exception:  # a thread's boundary: without its writer a link falls silent
            log.exception("stream_send_failed")
            stream.cancel()
        with self._lock:
            stream.busy = False
            if self._ack_due or self.outbox.unsent:
                self.work.notify()

    def acknowledge_soon(self, *, ask: bool = False) -> None:
        """Have an acknowledgement sent; with ``ask``, one that wants an answer."""
        self._ack_due = True
        self._ask |= ask
        self.work.notify()

    def answer(self, probe: int) -> None:
        """The peer asks for an acknowledgement, with the number of its probe."""
        self._echo = probe
        self.acknowledge_soon()

    def note_received(self, size: int) -> None:
        """A frame was accepted: acknowledge every few of them."""
        self.bytes_received += size
        inbox = self.inbox
        due = inbox.received - inbox.told >= ACK_EVERY_FRAMES
        if (due or inbox.bytes_since_told >= self._ack_every_bytes) and self._may_tell:
            self.acknowledge_soon()

    def close(self) -> None:
        """End the writing thread."""
        self._closed = True
        self.detach()
        self.work.notify()

    def run(self, wait_s: Callable[[], float], watch: Callable[[], None]) -> None:
        """Write frames until `close`; call ``watch`` at least every ``wait_s()``, unlocked."""
        while True:
            with self._lock:
                job = self._next(self._heartbeat_s)
                if job is None and not self._closed:
                    self.work.wait(wait_s())
                    job = self._next(self._heartbeat_s)
                if self._closed:
                    return
            if job is not None:
                self.write(*job)
            watch()

    def _next(self, heartbeat_s: float) -> tuple[Stream, bytes] | None:
        """The stream and the frame to write to it now; marks the stream as busy."""
        stream = self.stream
        if stream is None or not stream.ready or stream.busy:
            return None
        now = time.monotonic()
        entry = self.outbox.take() or (self._feed() if self.has_room else None)
        if entry is not None:
            frame = self._frame(entry)
        elif (control := self._control(now, heartbeat_s)) is not None:
            frame = pack_header(*control, 0, self._acknowledgement())
        else:
            return None
        stream.busy = True
        return stream, frame

    def _frame(self, entry: Entry) -> bytes:
        inbox = self.inbox
        if self.hold and not self._may_tell:
            acknowledged = inbox.told
        else:
            acknowledged = inbox.told = inbox.received
            inbox.bytes_since_told = 0
        head = _pack(entry.kind, entry.tag, entry.sequence, acknowledged)
        frame = b"".join((head, *entry.parts))
        self.bytes_sent += len(frame)
        return frame

    def _control(self, now: float, heartbeat_s: float) -> tuple[int, int] | None:
        """Kind and tag of the frame to send without a message, if one is due."""
        if self._echo:
            probe, self._echo = self._echo, 0
            self._ack_due = self._ask
            return Kind.ACK, probe
        if self._ask or now - self._last_probe >= heartbeat_s > 0:
            self._ack_due = self._ask = False
            self._last_probe = now
            return Kind.ACK_NOW, self.round_trips.begin(now)
        if self._ack_due:
            self._ack_due = False
            return Kind.ACK, 0
        return None

    def _acknowledgement(self) -> int:
        inbox = self.inbox
        return inbox.told if self.hold and not self._may_tell else inbox.tell()

    @property
    def _may_tell(self) -> bool:
        # The bulk lane is held by not reading on; what it has read may be forgotten.
        return not self.hold or self._heartbeat_s == 0
