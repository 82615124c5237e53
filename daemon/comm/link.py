"""The link to one peer: whether it is up, its sessions, and what to do when streams break.

State machine under one lock; threads of other modules call in. Handlers of messages and events
run on I/O threads, in order, under the delivery lock, never under the state lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from daemon.comm.bulk import BulkReceiver, BulkSender, announcement
from daemon.comm.events import Message, PeerEvent
from daemon.comm.frames import (
    HEADER_BYTES,
    PROTOCOL,
    Hello,
    Incarnation,
    Kind,
    unpack_header,
)
from daemon.comm.lane import Lane
from daemon.comm.session import Pairing
from daemon.errors import CodecError, HandshakeRefused, MessageTooLarge, PeerLost, SendTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.comm.bulk import Transfer
    from daemon.comm.frames import Header
    from daemon.comm.lane import Stream
    from daemon.comm.session import Inbox
    from daemon.comm.settings import CommSettings

log = logging.getLogger(__name__)

SMALL, BULK = 0, 1
MAX_TAG = 2**31
"""Tags of users are below; collectives use the space above."""
REFUSED = "refused"
PROBE_EVERY_S = 0.05
OWN_PAUSE_S = 1.0


class State(Enum):
    """Where a link is in its life."""

    CONNECTING = "connecting"
    UP = "up"
    INTERRUPTED = "interrupted"
    """No contact at the moment; frames are kept and the session goes on if it ends in time."""
    LOST = "lost"
    """The session is over. A new one makes the link UP again."""


class Call(Protocol):
    """The stream from the peer, as its reader holds it."""

    def cancel(self) -> object:
        """End it; the reader asks for a new one."""
        ...


class Link:
    """Everything between this rank and one peer."""

    def __init__(
        self,
        peer: int,
        settings: CommSettings,
        deliver: Callable[[Message], None],
        announce: Callable[[PeerEvent], None],
        forget: Callable[[int], None],
        run_bulk: Callable[[int], None],
        is_gone: Callable[[tuple[str, int]], bool],
    ) -> None:
        """Called in the order of the wire: ``forget`` before anything of a new session.

        Args:
            peer: its rank.
            settings: of this rank.
            deliver: takes a message.
            announce: takes news of the peer.
            forget: drops what was received and not taken.
            run_bulk: starts the bulk lane's threads, unless they run.
            is_gone: tells whether nobody listens at an address any more.
        """
        self.peer = peer
        self.state = State.CONNECTING
        self.reason = "has not come up yet"
        self.refusal = ""
        """Why the peer refuses us, if it does."""
        self.lock = threading.RLock()
        self.delivery = threading.RLock()
        self.room = threading.Condition(self.lock)
        self.announced_bulk = threading.Condition(self.lock)
        self.pairing = Pairing(Incarnation(settings.boot_id))
        self.bulk_out = BulkSender()
        self.lanes = [
            Lane(self.lock, settings.heartbeat_s),
            Lane(self.lock, 0.0, lambda: self.bulk_out.feed(self.lanes[BULK])),
        ]
        self._bulk_in = BulkReceiver(peer, deliver, settings.max_message_bytes)
        self._settings = settings
        self._deliver = deliver
        self._announce = announce
        self._forget = forget
        self._run_bulk = run_bulk
        self._is_gone = is_gone
        self._events: deque[PeerEvent | None] = deque()  # None: a new session begins
        self._calls: dict[int, Call] = {}
        self.announced = ""
        """Boot id of the peer's life that listeners know to be up (delivery lock)."""
        self._was_up = False
        self._departed = False
        self._closed = False
        self._last_heard = self._since = self._last_watch = time.monotonic()

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
        deadline = time.monotonic() + timeout_s
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
                self.room.wait(left)
        if transfer.failure == REFUSED:
            raise MessageTooLarge(f"{transfer.size} bytes are over the peer's limit", **where)
        if transfer.failure:
            raise self.lost_error(tag, timeout_s - (deadline - time.monotonic()))

    def _await_room(self, has_room: Callable[[], bool], tag: int, timeout_s: float) -> None:
        """Wait (lock held) until a frame may be pushed.

        Raises:
            PeerLost: the session is over.
            SendTimeout: no room in time.
        """
        start = time.monotonic()
        while True:
            elapsed = time.monotonic() - start
            if self.state is State.LOST or self._closed:
                raise self.lost_error(tag, elapsed)
            if self.state is not State.CONNECTING and has_room():
                return
            if elapsed >= timeout_s:
                why = self.refusal or self.reason if self.state is State.CONNECTING else "is slow"
                raise SendTimeout(
                    f"rank {self.peer} {why}: nothing was sent",
                    rank=self._settings.rank,
                    peer=self.peer,
                    tag=tag,
                    elapsed_s=elapsed,
                )
            self.room.wait(timeout_s - elapsed)

    def lost_error(self, tag: int | None = None, elapsed_s: float | None = None) -> PeerLost:
        """The error for who waits for this peer."""
        reason = "this rank is closing" if self._closed else self.reason
        return PeerLost(
            f"rank {self.peer} is lost: {reason}",
            rank=self._settings.rank,
            peer=self.peer,
            tag=tag,
            elapsed_s=elapsed_s,
        )

    # The stream towards the peer, on threads of the server.

    def attach(self, hello: Hello, stream: Stream) -> dict[str, tuple[str, int]]:
        """Take a stream that the peer asked for; the newest wins. Answers the handshake.

        Raises:
            HandshakeRefused: not our cluster, version or world, or an earlier life of the peer.
            CodecError: it wants what was acknowledged before.
        """
        self._check(hello)
        with self.lock:
            self._meet(Incarnation(*hello.mine))
            lane = self.lanes[hello.lane]
            mine = (self.pairing.mine.boot_id, self.pairing.mine.count)
            done = lane.outbox.resume(hello.received if hello.theirs == mine else 0)
            if hello.lane == BULK:
                self.bulk_out.acknowledged(done)
            self.room.notify_all()
            lane.detach()
            lane.stream = stream
        self.drain_events()
        return {"mine": mine, "theirs": hello.mine}

    def attached(self, stream: Stream) -> None:
        """The welcome is on its way: frames may follow."""
        with self.lock:
            for lane in self.lanes:
                if lane.stream is stream:
                    stream.ready = True
                    lane.work.notify()
            self._check_up()
        self.drain_events()

    def detached(self, stream: Stream) -> None:
        """A stream towards the peer has ended."""
        with self.lock:
            for lane in self.lanes:
                if lane.stream is stream:
                    lane.stream = None
                    if lane is self.lanes[SMALL]:
                        self._interrupt("the stream to it broke")

    # The stream from the peer, on the thread that reads it.

    def hello(self, number: int) -> Hello:
        """The request for a stream of frames from where we stand."""
        settings = self._settings
        with self.lock:
            mine, theirs = self.pairing.mine, self.pairing.theirs
            return Hello(
                protocol=PROTOCOL,
                cluster=settings.cluster,
                epoch=settings.epoch,
                world_size=settings.world_size,
                source=settings.rank,
                target=self.peer,
                lane=number,
                mine=(mine.boot_id, mine.count),
                theirs=(theirs.boot_id, theirs.count) if theirs else ("", 0),
                received=self.lanes[number].inbox.received,
            )

    def calling(self, number: int, call: Call | None) -> None:
        """The call that reads, so that a lost session can end it."""
        with self.lock:
            if call is None:
                self._calls.pop(number, None)
            else:
                self._calls[number] = call

    def welcomed(self, hello: Hello, theirs: Incarnation) -> Inbox:
        """The peer has answered the handshake; frames belong to the session of the result.

        Raises:
            HandshakeRefused: one of the two has moved on meanwhile: ask again.
        """
        with self.lock:
            self._meet(theirs)
            mine = self.pairing.mine
            if hello.mine != (mine.boot_id, mine.count):
                raise HandshakeRefused("this rank gave the session up meanwhile")
            lane = self.lanes[hello.lane]
            lane.inbound = True
            self.refusal = ""
            self._last_heard = time.monotonic()
            self._check_up()
            inbox = lane.inbox
        self.drain_events()
        return inbox

    def unwelcomed(self, number: int, reason: str) -> None:
        """The stream from the peer has ended."""
        with self.lock:
            self.lanes[number].inbound = False
            if number == SMALL:
                if self._departed:
                    self._end_session()
                self._interrupt(reason)

    def receive(self, number: int, inbox: Inbox, frame: bytes) -> None:
        """Take one frame in.

        Raises:
            CodecError: it does not follow from what came before: ask for a new stream.
        """
        header = unpack_header(frame)
        if number == BULK:
            self._receive_bulk(header, inbox, frame)
            return
        with self.delivery:
            with self.lock:
                self._expect_up()
                new = self._accept(number, header, inbox, len(frame))
                if new and header.kind == Kind.GOODBYE:
                    self._depart()
            self.drain_events()
            if new:
                self._dispatch(header, memoryview(frame)[HEADER_BYTES:])

    def awaits_bulk(self, tag: int) -> bool:
        """Whether the next message of a tag comes from the bulk lane's reader."""
        return self._bulk_in.pending(tag)

    def _dispatch(self, header: Header, payload: memoryview) -> None:
        if header.kind == Kind.DATA:
            self._bulk_in.message(Message(self.peer, header.tag, payload))
        elif header.kind == Kind.ANNOUNCE:
            self._run_bulk(self.peer)
            refused = self._bulk_in.announce(header.tag, payload)
            with self.lock:
                if refused is not None:
                    self.lanes[SMALL].push(Kind.REFUSE, refused, (), 0, queue_only=True)
                self.announced_bulk.notify_all()
        elif header.kind == Kind.REFUSE:
            log.warning("bulk_refused", extra={"fields": {"peer": self.peer}})
            with self.lock:
                self.bulk_out.fail(REFUSED, header.tag)
                self.room.notify_all()

    def _receive_bulk(self, header: Header, inbox: Inbox, frame: bytes) -> None:
        receiver = self._bulk_in
        with self.lock:
            if header.kind == Kind.CHUNK:
                self._await_announcement(header.tag, inbox)
                receiver = self._bulk_in
            new = self._accept(BULK, header, inbox, len(frame))
        if new and header.kind == Kind.CHUNK and receiver.fill(header.tag, frame):
            with self.delivery:
                self.drain_events()
                if self._bulk_in is receiver:
                    receiver.complete(header.tag)
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

    def _accept(self, number: int, header: Header, inbox: Inbox, size: int) -> bool:
        """Take note of a frame (lock held); whether it is a new one to act on."""
        lane = self.lanes[number]
        if lane.inbox is not inbox:
            raise CodecError("frame of a session that is over")
        self._last_heard = time.monotonic()
        done = lane.outbox.acknowledge(header.acknowledged)
        if done:
            if number == BULK:
                self.bulk_out.acknowledged(done)
                lane.work.notify()
            self.room.notify_all()
        if header.kind >= Kind.CONTROL:
            if header.kind == Kind.ACK_NOW:
                lane.acknowledge_soon()
            return False
        if not inbox.accept(header.sequence, size):
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

    # Watching, on the writer's thread.

    def watch_every_s(self) -> float:
        """How long the watcher may sleep."""
        interrupted = self.state is State.INTERRUPTED
        return PROBE_EVERY_S if interrupted else self._settings.heartbeat_s / 2

    def watch(self) -> None:
        """Notice silence and the end of patience."""
        with self.lock:
            now = time.monotonic()
            pause = now - self._last_watch
            self._last_watch = now
            if pause > OWN_PAUSE_S:
                # We were stopped or starved, so the silence was ours: give the peer its time.
                self._last_heard += pause
                self._since += pause
            silence = now - self._last_heard
            if self.state is State.UP and silence > self._settings.silence_s:
                self._interrupt(f"silent for {silence:.1f} s", since=self._last_heard)
            if (
                self.state is State.INTERRUPTED
                and now - self._since > self._settings.peer_timeout_s
            ):
                self._lose(f"no contact for {now - self._since:.1f} s, {self.reason}")
            probe = self.state is State.INTERRUPTED
        if probe and self._is_gone(self._settings.addresses[self.peer]):
            with self.lock:
                if self.state is State.INTERRUPTED:
                    self._lose("its process is gone: nobody listens on its port")
        self.drain_events()

    def drain_events(self) -> None:
        """Tell the news, in order."""
        while self._events:
            with self.delivery:
                with self.lock:
                    if not self._events:
                        return
                    event = self._events.popleft()
                if event is None:
                    self._forget(self.peer)
                else:
                    self._announce(event)

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
                self.room.wait(min(left, 0.1))

    # State, lock held.

    def _check(self, hello: Hello) -> None:
        settings = self._settings
        expected = {
            "protocol": PROTOCOL,
            "cluster": settings.cluster,
            "epoch": settings.epoch,
            "world_size": settings.world_size,
            "target": settings.rank,
        }
        for name, value in expected.items():
            if getattr(hello, name) != value:
                raise HandshakeRefused(
                    f"rank {settings.rank} has {name} {value!r}, rank {hello.source} of "
                    f"{hello.cluster!r} has {getattr(hello, name)!r}"
                )
        if hello.lane not in (SMALL, BULK):
            raise HandshakeRefused(f"no lane {hello.lane}")

    def _meet(self, theirs: Incarnation) -> None:
        """Compare an incarnation seen on the wire with the one we know."""
        verdict = self.pairing.judge(theirs)
        if verdict == "old":
            raise HandshakeRefused(f"rank {self.peer} has restarted since, this is its past")
        if verdict == "new":
            if self._was_up:
                old = self.pairing.theirs
                same = old is not None and old.boot_id == theirs.boot_id
                self._tell_lost("it gave this rank up" if same else "it restarted")
            self.pairing.adopt(theirs)
            self._events.append(None)
            self._reset("is connecting", State.CONNECTING)

    def _check_up(self) -> None:
        lane = self.lanes[SMALL]
        complete = lane.inbound and lane.stream is not None and lane.stream.ready
        if not complete or self._departed or self.pairing.theirs is None:
            return
        self.state = State.UP
        if not self._was_up:
            self._was_up = True
            self._events.append(PeerEvent(self.peer, "up", self.pairing.theirs.boot_id))
        self.room.notify_all()

    def _expect_up(self) -> None:
        """A frame came: the peer has had our welcome, whether or not its sender came to say so."""
        stream = self.lanes[SMALL].stream
        if self.state is State.CONNECTING:
            if stream is None:
                raise CodecError("the stream to the peer broke before it was up: start again")
            stream.ready = True
        if self.state in (State.CONNECTING, State.INTERRUPTED):
            self._check_up()

    def _interrupt(self, reason: str, since: float | None = None) -> None:
        if self.state is State.UP:
            self.state = State.INTERRUPTED
            self.reason = reason
            self._since = since or time.monotonic()
            self.lanes[SMALL].work.notify()

    def _depart(self) -> None:
        """The peer leaves: keep the streams until it has our acknowledgement."""
        self._departed = True
        self.state = State.LOST
        self._tell_lost("it left")
        self.lanes[SMALL].acknowledge_soon()
        self.room.notify_all()

    def _lose(self, reason: str) -> None:
        self._tell_lost(reason)
        self._end_session()

    def _tell_lost(self, reason: str) -> None:
        self.reason = reason
        if self._was_up:
            self._was_up = False
            boot_id = self.pairing.theirs.boot_id if self.pairing.theirs else ""
            self._events.append(PeerEvent(self.peer, "lost", boot_id, reason))

    def _end_session(self) -> None:
        self.pairing.give_up()
        self._reset(self.reason, State.LOST)
        for call in self._calls.values():
            call.cancel()

    def _reset(self, reason: str, state: State) -> None:
        self.state, self.reason = state, reason
        self._departed = False
        for lane in self.lanes:
            lane.reset()
        self.bulk_out.fail(reason)
        limit = self._settings.max_message_bytes
        self._bulk_in = BulkReceiver(self.peer, self._deliver, limit)
        self.room.notify_all()
        self.announced_bulk.notify_all()
