"""Whether the link to a peer is up, and what ends or begins a session: a state machine.

One lock guards it; transitions are called with the lock held. News is told on I/O threads, in
order, under the delivery lock, never under the state lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from daemon.comm.bulk import BulkReceiver, BulkSender
from daemon.comm.events import Message, PeerEvent
from daemon.comm.frames import PROTOCOL, Hello, Incarnation
from daemon.comm.lane import Lane
from daemon.comm.session import Pairing
from daemon.errors import CodecError, HandshakeRefused, PeerLost, SendTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.comm.settings import CommSettings

SMALL, BULK = 0, 1
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


class LinkState:
    """What is known of one peer, and its transitions."""

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
        self.interruptions = 0
        self.refusal = ""
        """Why the peer refuses us, if it does."""
        self.lock = threading.RLock()
        self.delivery = threading.RLock()
        self.room = threading.Condition(self.lock)
        self.room_waits = 0
        """Threads that wait on `room`: nobody is told while there are none."""
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
        self._stale: set[int] = set()
        """Lanes whose channel to the peer is to be opened anew."""
        self.announced = ""
        """Boot id of the peer's life that listeners know to be up (delivery lock)."""
        self._was_up = False
        self._departed = False
        self._closed = False
        self._last_heard = self._since = self._last_watch = time.monotonic()

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
            self._wait_for_room(timeout_s - elapsed)

    def _wait_for_room(self, limit_s: float) -> None:
        self.room_waits += 1
        try:
            self.room.wait(limit_s)
        finally:
            self.room_waits -= 1

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
                self._last_heard = min(now, self._last_heard + pause)
                self._since = min(now, self._since + pause)
            silence = now - self._last_heard
            if self.state is State.UP and silence > self._settings.silence_s:
                self._interrupt(f"silent for {silence:.1f} s", since=self._last_heard)
            if (
                self.state is State.INTERRUPTED
                and now - self._since > self._settings.peer_timeout_s
            ):
                self._lose(f"no contact for {now - self._since:.1f} s, {self.reason}")
            small = self.lanes[SMALL]
            probe = self.state is State.INTERRUPTED and not (small.inbound and small.stream)
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

    # Transitions, lock held.

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

    def _dial_anew(self) -> None:
        """The peer is there now, while our channels wait until they may try again (0.25 s)."""
        self._stale = {number for number, lane in enumerate(self.lanes) if not lane.inbound}
        for number in self._stale & set(self._calls):
            self._calls[number].cancel()

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

    def _expect_up(self, *, sequenced: bool) -> None:
        """A frame came. A sequenced one proves that the peer has had our welcome."""
        stream = self.lanes[SMALL].stream
        if self.state is State.CONNECTING and sequenced:
            if stream is None:
                raise CodecError("the stream to the peer broke before it was up: start again")
            stream.ready = True
        if self.state in (State.CONNECTING, State.INTERRUPTED):
            self._check_up()

    def _interrupt(self, reason: str, since: float | None = None) -> None:
        if self.state is State.UP:
            self.state = State.INTERRUPTED
            self.interruptions += 1
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
