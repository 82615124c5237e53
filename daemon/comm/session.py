"""Exactly once and in order over streams that break: sequence numbers, acks, replay.

Pure: no clock, no lock, no network. `Outbox` and `Inbox` are the two ends of one direction; a
`Pairing` says whether two incarnations are still the same session.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.comm.frames import Incarnation

RETIRED_LIMIT = 256
NEVER_AGAIN = 2**63


@dataclass(slots=True)
class Entry:
    """One frame that must arrive."""

    sequence: int
    kind: int
    tag: int
    parts: Sequence[bytes | memoryview]
    size: int
    """Bytes of the parts."""


class Outbox:
    """Frames that the peer has not acknowledged, and how far the current stream got."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        """What is kept, oldest first."""
        self.sent = 0
        """How many of the kept ones the current stream has taken."""
        self._next = 1
        self.acknowledged = 0
        """Highest sequence number that the peer has acknowledged."""
        self.unacknowledged_bytes = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def unsent(self) -> int:
        """Frames that the current stream has not taken yet."""
        return len(self.entries) - self.sent

    def push(self, kind: int, tag: int, parts: Sequence[bytes | memoryview], size: int) -> Entry:
        """Give the next sequence number to a frame."""
        entry = Entry(self._next, kind, tag, parts, size)
        self._next += 1
        self.entries.append(entry)
        self.unacknowledged_bytes += size
        return entry

    def take(self) -> Entry | None:
        """The next frame for the current stream."""
        if self.sent == len(self.entries):
            return None
        entry = self.entries[self.sent]
        self.sent += 1
        return entry

    def acknowledge(self, sequence: int) -> list[Entry]:
        """Forget frames up to ``sequence``; the forgotten ones.

        Raises:
            CodecError: the peer acknowledges what was never sent.
        """
        if sequence >= self._next:
            raise CodecError(f"frame {sequence} acknowledged, sent up to {self._next - 1}")
        done: list[Entry] = []
        while self.acknowledged < sequence:
            entry = self.entries.popleft()
            self.unacknowledged_bytes -= entry.size
            done.append(entry)
            self.acknowledged += 1
        self.sent = max(0, self.sent - len(done))
        return done

    def resume(self, received: int) -> list[Entry]:
        """A new stream begins after frame ``received``: the rest is sent again.

        Raises:
            CodecError: the peer wants frames that it has acknowledged before.
        """
        if received < self.acknowledged:
            kept = self.acknowledged + 1
            raise CodecError(f"peer resumes after frame {received}, kept from {kept} on")
        done = self.acknowledge(received)
        self.sent = 0
        return done


class Inbox:
    """What has arrived, and what the peer has been told of it."""

    def __init__(self) -> None:
        self.received = 0
        """Highest sequence number, all before included."""
        self.told = 0
        """Highest one that we have acknowledged."""
        self.bytes_since_told = 0

    def accept(self, sequence: int, size: int) -> bool:
        """Whether a frame is new. A repeated one is dropped by the caller.

        Raises:
            CodecError: frames are missing before it, which no stream of ours can do.
        """
        if sequence <= self.received:
            return False
        if sequence != self.received + 1:
            raise CodecError(f"frame {sequence} follows {self.received}")
        self.received = sequence
        self.bytes_since_told += size
        return True

    def tell(self) -> int:
        """The acknowledgement for a frame that leaves now."""
        self.told = self.received
        self.bytes_since_told = 0
        return self.received


class Pairing:
    """The two incarnations that a session is between. Each only ever moves forward.

    Both ends start from nothing whenever a pair is new to them, and no pair comes back, so
    sequence numbers of one session are never taken for another's.
    """

    def __init__(self, mine: Incarnation) -> None:
        self.mine = mine
        self.theirs: Incarnation | None = None
        self._refused: dict[str, int] = {}  # boot id -> highest count, oldest boot first

    def judge(self, theirs: Incarnation) -> str:
        """What an incarnation seen on the wire means: ``same``, ``new`` or ``old``."""
        if theirs == self.theirs:
            return "same"
        return "old" if theirs.count <= self._refused.get(theirs.boot_id, -1) else "new"

    def adopt(self, theirs: Incarnation) -> None:
        """The peer is ``theirs`` from now on; every other life of it is over."""
        if self.theirs is not None:
            self._refused[self.theirs.boot_id] = self.theirs.count
        for boot_id in self._refused:
            if boot_id != theirs.boot_id:
                self._refused[boot_id] = NEVER_AGAIN
        self.theirs = theirs
        while len(self._refused) > RETIRED_LIMIT:
            del self._refused[next(iter(self._refused))]

    def give_up(self) -> None:
        """End the session from this side: the peer must take us as new, then may come back."""
        self.theirs = None
        self.mine = type(self.mine)(self.mine.boot_id, self.mine.count + 1)
