"""Beginnings and ends of the streams of a link: what the two handshakes do to its session.

The stream towards the peer lives on threads of the server, the one from it on its reader's thread.
Knows nothing of what frames hold.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from daemon.comm.frames import Hello, Incarnation
from daemon.comm.link_state import BULK, SMALL, Call, LinkState
from daemon.errors import HandshakeRefused

if TYPE_CHECKING:
    from daemon.comm.lane import Stream
    from daemon.comm.session import Inbox


class LinkStreams(LinkState):
    """A link that streams can be attached to."""

    # The stream towards the peer, on threads of the server.

    def attach(self, hello: Hello, stream: Stream) -> dict[str, tuple[str, int]]:
        """Take a stream that the peer asked for; the newest wins. Answers the handshake.

        Raises:
            HandshakeRefused: not our cluster, version or world, or an earlier life of the peer.
            CodecError: it wants what was acknowledged before.
        """
        self._check(hello)
        with self.lock:
            known = self.pairing.theirs
            self._meet(Incarnation(*hello.mine))
            if self.pairing.theirs != known:
                self._dial_anew()
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

    def calling(self, number: int, call: Call | None) -> None:
        """The call that reads, so that a lost session can end it."""
        with self.lock:
            if call is None:
                self._calls.pop(number, None)
                return
            self._calls[number] = call
            if number in self._stale:
                call.cancel()

    def needs_new_channel(self, number: int) -> bool:
        """Whether the reader should open its channel anew; asked once for each time."""
        with self.lock:
            stale = number in self._stale
            self._stale.discard(number)
            return stale

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
