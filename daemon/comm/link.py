"""The link to one peer: what sends, and takes frames in.

Threads of other modules call in; `link_streams` has the beginnings and ends of streams,
`link_state` what follows for the session. Handlers of messages run on I/O threads, in order, under
the delivery lock, never under the state lock.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from daemon.comm.bulk import announcement
from daemon.comm.events import Message
from daemon.comm.frames import HEADER, HEADER_BYTES, Kind, unpack_header
from daemon.comm.link_state import BULK, SMALL, State
from daemon.comm.link_stats import LinkStats
from daemon.comm.link_streams import LinkStreams
from daemon.errors import CodecError, MessageTooLarge, SendTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.comm.bulk import Transfer
    from daemon.comm.session import Inbox

log = logging.getLogger(__name__)

MAX_TAG = 2**31
"""Tags of users are below; collectives use the space above."""
REFUSED = "refused"
_unpack = HEADER.unpack_from
_DATA, _GOODBYE, _CONTROL = int(Kind.DATA), int(Kind.GOODBYE), int(Kind.CONTROL)
Fields = tuple[int, int, int, int]
"""Of a header: kind, tag, sequence number, acknowledgement."""


class Link(LinkStreams):
    """Everything between this rank and one peer."""

    # Sending, any thread.

    def post(
        self, tag: int, parts: Sequence[bytes | memoryview], size: int, timeout_s: float
    ) -> None:
        """Queue a small message; blocks while the peer is not up or too much is unacknowledged.

        Raises:
            PeerLost: the session is over.
            SendTimeout: no room in time.
        """
        lane = self.lanes[SMALL]
        with self.lock:
            if self.state is not State.UP or not lane.has_room:
                self._await_room(lambda: lane.has_room, tag, timeout_s)
            job = lane.push(Kind.DATA, tag, parts, size)
        if job is not None:
            lane.write(*job)

    def post_bulk(
        self,
        tag: int,
        parts: Sequence[bytes | memoryview],
        size: int,
        timeout_s: float,
        *,
        wait: bool,
        mlx: bool,
    ) -> Transfer:
        """Queue a large message.

        Args:
            tag: of the message.
            parts: its bytes; they must not change before they have arrived.
            size: of all parts together.
            timeout_s: for everything.
            wait: until it has arrived.
            mlx: have the peer put it into MLX memory.

        Raises:
            PeerLost: the session is over.
            SendTimeout: no room, or not arrived, in time. It may still arrive.
            MessageTooLarge: the peer refuses it.
        """
        self._run_bulk(self.peer)
        deadline = time.monotonic() + timeout_s
        small = self.lanes[SMALL]
        with self.lock:
            self._await_room(lambda: small.has_room and self.bulk_out.has_room, tag, timeout_s)
            transfer = self.bulk_out.add(parts, size)
            note = announcement(transfer, mlx=mlx)
            job = small.push(Kind.ANNOUNCE, tag, (note,), len(note))
            self.lanes[BULK].work.notify()
        if job is not None:
            small.write(*job)
        if wait:
            self.await_arrival(transfer, tag, deadline - time.monotonic())
        return transfer

    def await_arrival(self, transfer: Transfer, tag: int, timeout_s: float) -> None:
        """Wait until the peer has all of a message.

        Raises:
            PeerLost, SendTimeout, MessageTooLarge: as for `post_bulk`.
        """
        started = time.monotonic()
        deadline = started + timeout_s
        where = {"rank": self._settings.rank, "peer": self.peer, "tag": tag}
        with self.lock:
            while not transfer.over:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.bulk_out.fail("timed out", transfer.number)
                    raise SendTimeout(
                        f"{transfer.unacknowledged} of {transfer.size} bytes have not arrived",
                        **where,
                        elapsed_s=timeout_s,
                    )
                self._wait_for_room(left)
        if transfer.failure == REFUSED:
            raise MessageTooLarge(
                f"{transfer.size} bytes are over the peer's limit",
                **where,
                elapsed_s=time.monotonic() - started,
            )
        if transfer.failure:
            raise self.lost_error(tag, time.monotonic() - started)

    # Frames from the peer, on the thread that reads them.

    def receive(self, number: int, inbox: Inbox, frame: bytes) -> None:
        """Take one frame in.

        Raises:
            CodecError: it does not follow from what came before: ask for a new stream.
        """
        # Plain tuples and integers: every message passes here, and a named one costs 0.5 us.
        size = len(frame)
        header = _unpack(frame) if size >= HEADER_BYTES else unpack_header(frame)
        if number == BULK:
            self._receive_bulk(header, inbox, frame)
            return
        kind, tag, _, _ = header
        with self.delivery:
            with self.lock:
                if self.state is not State.UP:
                    self._expect_up(sequenced=kind < _CONTROL)
                new = self._accept(number, header, inbox, size)
                if new and kind == _GOODBYE:
                    self._depart()
            if self._events:
                self.drain_events()
            if not new:
                return
            payload = memoryview(frame)[HEADER_BYTES:]
            if kind == _DATA:
                message = Message(self.peer, tag, payload)
                if self._bulk_in.orders:
                    self._bulk_in.message(message)
                else:
                    self._deliver(message)
            else:
                self._dispatch(kind, tag, payload)

    def awaits_bulk(self, tag: int) -> bool:
        """Whether the next message of a tag comes from the bulk lane's reader."""
        return self._bulk_in.pending(tag)

    def _dispatch(self, kind: int, tag: int, payload: memoryview) -> None:
        if kind == Kind.ANNOUNCE:
            self._run_bulk(self.peer)
            refused = self._bulk_in.announce(tag, payload)
            with self.lock:
                if refused is not None:
                    self.lanes[SMALL].push(Kind.REFUSE, refused, (), 0, queue_only=True)
                self.announced_bulk.notify_all()
        elif kind == Kind.REFUSE:
            log.warning("bulk_refused", extra={"fields": {"peer": self.peer}})
            with self.lock:
                self.bulk_out.fail(REFUSED, tag)
                self.room.notify_all()

    def _receive_bulk(self, header: Fields, inbox: Inbox, frame: bytes) -> None:
        receiver = self._bulk_in
        kind, tag, _, _ = header
        with self.lock:
            if kind == Kind.CHUNK:
                self._await_announcement(tag, inbox)
                receiver = self._bulk_in
            new = self._accept(BULK, header, inbox, len(frame))
        if new and kind == Kind.CHUNK and receiver.fill(tag, frame):
            with self.delivery:
                self.drain_events()
                if self._bulk_in is receiver:
                    receiver.complete(tag)
            with self.lock:
                self.lanes[BULK].acknowledge_soon()

    def _await_announcement(self, number: int, inbox: Inbox) -> None:
        """Hold the bulk lane (lock held) until a chunk's message has its place and its room."""
        lane = self.lanes[BULK]
        while lane.inbox is inbox and not self._closed:
            first = self._bulk_in.tag_of(number)
            held = lane.hold and first is not None and first < MAX_TAG
            if number <= self._bulk_in.announced and not held:
                return
            self.announced_bulk.wait(0.1)

    def _accept(self, number: int, header: Fields, inbox: Inbox, size: int) -> bool:
        """Take note of a frame (lock held); whether it is a new one to act on."""
        lane = self.lanes[number]
        if lane.inbox is not inbox:
            raise CodecError("frame of a session that is over")
        self._last_heard = time.monotonic()
        kind, tag, sequence, acknowledged = header
        if acknowledged > lane.outbox.acknowledged:
            done = lane.outbox.acknowledge(acknowledged)
            if number == BULK:
                self.bulk_out.acknowledged(done)
                lane.work.notify()
            if self.room_waits:
                self.room.notify_all()
        if kind >= _CONTROL:
            if kind == Kind.ACK_NOW:
                lane.answer(tag)
            elif tag:
                lane.round_trips.end(tag, self._last_heard)
            return False
        if not inbox.accept(sequence, size):
            return False
        lane.note_received(size)
        return True

    def hold_back(self, number: int, *, hold: bool) -> None:
        """Let the peer send no more on a lane than its window, as nobody takes what came."""
        lane = self.lanes[number]
        with self.lock:
            if lane.hold and not hold:
                lane.acknowledge_soon()
                self.announced_bulk.notify_all()
            lane.hold = hold

    def stats(self) -> LinkStats:
        """A snapshot."""
        trips = self.lanes[SMALL].round_trips
        with self.lock:
            out_done, out_total = self.bulk_out.progress()
            in_done, in_total = self._bulk_in.progress()
            return LinkStats(
                state=self.state.value,
                reason=self.reason,
                interruptions=self.interruptions,
                bytes_sent=sum(lane.bytes_sent for lane in self.lanes),
                bytes_received=sum(lane.bytes_received for lane in self.lanes),
                unacknowledged_bytes=sum(lane.outbox.unacknowledged_bytes for lane in self.lanes),
                bulk_out_done=out_done,
                bulk_out_total=out_total,
                bulk_in_done=in_done,
                bulk_in_total=in_total,
                rtt_p50_s=trips.percentile(50),
                rtt_p99_s=trips.percentile(99),
            )

    # Leaving.

    def say_goodbye(self, deadline: float) -> None:
        """Wait until the peer has everything and knows that nothing follows, or ``deadline``."""
        lane = self.lanes[SMALL]
        with self.lock:
            self._flush(deadline)
            if self.state is not State.UP:
                return
            job = lane.push(Kind.GOODBYE, 0, (), 0)
        if job is not None:
            lane.write(*job)
        with self.lock:
            self._flush(deadline)

    def close(self) -> None:
        """Stop; every waiting call gets `PeerLost`."""
        with self.lock:
            self._closed = True
            self.bulk_out.fail("this rank is closing")
            self.announced_bulk.notify_all()
            for lane in self.lanes:
                lane.close()
            for call in self._calls.values():
                call.cancel()
            self.room.notify_all()

    def _flush(self, deadline: float) -> None:
        for lane in self.lanes:
            while len(lane.outbox) and lane.stream and self.lanes[SMALL].inbound:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                lane.acknowledge_soon(ask=True)
                self._wait_for_room(min(left, 0.1))
