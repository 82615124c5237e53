"""Large messages of one link: cut into chunks on the way out, put together on the way in.

A small frame announces each one and keeps its place in the order of its tag; the chunks travel on
the bulk lane, so small messages overtake them. Called by the link; the sender's side with the
link's lock held, the receiver's on its reading threads.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daemon.comm import mlx_arrays
from daemon.comm.events import Message
from daemon.comm.frames import HEADER_BYTES, Kind
from daemon.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.comm.lane import Lane
    from daemon.comm.session import Entry

CHUNK_BYTES = 512 * 1024
QUEUE_BYTES = 64 * 1024 * 1024
"""One more message may be queued while fewer bytes than this wait to be cut."""
_ANNOUNCE = struct.Struct("<QQB")


@dataclass(slots=True, eq=False)
class Transfer:
    """A large message on its way out."""

    number: int
    parts: deque[memoryview]
    size: int
    left: int
    """Bytes not cut into chunks yet."""
    unacknowledged: int
    failure: str = ""
    """Why it will not arrive."""

    @property
    def over(self) -> bool:
        """Whether its memory is the sender's again."""
        return self.unacknowledged == 0 or bool(self.failure)


class BulkSender:
    """Queue of large messages towards one peer; the bulk lane takes chunks from it."""

    def __init__(self) -> None:
        self._queue: deque[Transfer] = deque()
        self._under_way: dict[int, Transfer] = {}
        self._count = 0
        self._waiting_bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether one more message may be queued."""
        return self._waiting_bytes < QUEUE_BYTES

    def add(self, parts: Sequence[bytes | memoryview], size: int) -> Transfer:
        """Queue a message; announce it with `announcement` before any chunk can be taken."""
        self._count += 1
        views = deque(memoryview(part) for part in parts)
        transfer = Transfer(self._count, views, size, size, size)
        self._queue.append(transfer)
        self._under_way[transfer.number] = transfer
        self._waiting_bytes += size
        return transfer

    def feed(self, lane: Lane) -> Entry | None:
        """The next chunk, pushed to the lane's outbox and taken."""
        while self._queue and (self._queue[0].left == 0 or self._queue[0].failure):
            self._waiting_bytes -= self._queue.popleft().left
        if not self._queue:
            return None
        transfer = self._queue[0]
        pieces, size = _cut(transfer.parts)
        transfer.left -= size
        self._waiting_bytes -= size
        lane.outbox.push(Kind.CHUNK, transfer.number, pieces, size)
        return lane.outbox.take()

    def progress(self) -> tuple[int, int]:
        """Bytes that have arrived, and bytes in all, of the messages under way."""
        total = sum(each.size for each in self._under_way.values())
        return total - sum(each.unacknowledged for each in self._under_way.values()), total

    def acknowledged(self, entries: list[Entry]) -> None:
        """The peer has these chunks."""
        for entry in entries:
            transfer = self._under_way.get(entry.tag)
            if transfer is not None:
                transfer.unacknowledged -= entry.size
                if transfer.over:
                    del self._under_way[transfer.number]

    def fail(self, reason: str, number: int | None = None) -> None:
        """A message (None: all) will not arrive."""
        for transfer in list(self._under_way.values()):
            if number in (None, transfer.number):
                transfer.failure = reason
                del self._under_way[transfer.number]
        if number is None:
            self._queue.clear()
            self._waiting_bytes = 0


def announcement(transfer: Transfer, *, mlx: bool) -> bytes:
    """Payload of the frame that keeps the message's place; ``mlx``: land it in MLX memory."""
    return _ANNOUNCE.pack(transfer.number, transfer.size, mlx)


def _cut(parts: deque[memoryview]) -> tuple[list[memoryview], int]:
    """Take the next chunk off the front of ``parts``."""
    pieces: list[memoryview] = []
    size = 0
    while parts and size < CHUNK_BYTES:
        part = parts.popleft()
        room = CHUNK_BYTES - size
        if len(part) > room:
            parts.appendleft(part[room:])
            part = part[:room]
        pieces.append(part)
        size += len(part)
    return pieces, size


@dataclass(slots=True, eq=False)
class _Incoming:
    """A large message on its way in."""

    tag: int
    size: int
    mlx: bool
    buffer: np.ndarray[Any, Any] | None = None
    payload: memoryview | None = None
    """The whole message, once complete."""
    filled: int = 0


class BulkReceiver:
    """Puts messages of one session together and keeps the order within each tag."""

    def __init__(
        self, peer: int, deliver: Callable[[Message], None], max_message_bytes: int
    ) -> None:
        self._peer = peer
        self._deliver = deliver
        self._max_bytes = max_message_bytes
        self._incoming: dict[int, _Incoming] = {}
        self.orders: dict[int, deque[_Incoming | Message]] = {}
        """What waits for a large message to be complete, by tag, in order."""
        self.announced = 0
        """Highest transfer number that was announced."""

    def announce(self, tag: int, payload: memoryview) -> int | None:
        """Keep a place for a message; the number of one that is refused (delivery lock)."""
        if len(payload) != _ANNOUNCE.size:
            raise CodecError("malformed announcement of a bulk message")
        number, size, mlx = _ANNOUNCE.unpack(payload)
        refused = size > self._max_bytes
        if not refused:
            incoming = _Incoming(tag, size, bool(mlx))
            self._incoming[number] = incoming
            self.orders.setdefault(tag, deque()).append(incoming)
        self.announced = number
        return number if refused else None

    def progress(self) -> tuple[int, int]:
        """Bytes that are here, and bytes in all, of the messages on their way in (any thread)."""
        incoming = list(self._incoming.values())
        return sum(each.filled for each in incoming), sum(each.size for each in incoming)

    def pending(self, tag: int) -> bool:
        """Whether messages of a tag wait for a large one to be complete."""
        return tag in self.orders

    def tag_of(self, number: int) -> int | None:
        """Tag of a message of which nothing has been filled in yet; None otherwise."""
        incoming = self._incoming.get(number)
        return incoming.tag if incoming is not None and incoming.buffer is None else None

    def message(self, message: Message) -> None:
        """Deliver a small message, after earlier ones of its tag (delivery lock)."""
        pending = self.orders.get(message.tag)
        if pending is None:
            self._deliver(message)
        else:
            pending.append(message)

    def fill(self, number: int, frame: bytes) -> bool:
        """Put a chunk in its place (reading thread only); whether the message is complete."""
        incoming = self._incoming.get(number)
        if incoming is None:
            return False  # refused
        size = len(frame) - HEADER_BYTES
        if incoming.filled + size > incoming.size:
            raise CodecError("bulk message is longer than announced")
        if size == incoming.size:
            incoming.buffer = np.frombuffer(frame, np.uint8, offset=HEADER_BYTES)
            return True
        if incoming.buffer is None:
            incoming.buffer = _landing(incoming.size, mlx=incoming.mlx)
        # NumPy copies without the GIL.
        target = incoming.buffer[incoming.filled : incoming.filled + size]
        target[:] = np.frombuffer(frame, np.uint8, offset=HEADER_BYTES)
        incoming.filled += size
        return incoming.filled == incoming.size

    def complete(self, number: int) -> None:
        """Deliver a complete message and what waited behind it (delivery lock)."""
        incoming = self._incoming.pop(number)
        assert incoming.buffer is not None  # noqa: S101 - filled before complete
        buffer: Any = incoming.buffer
        incoming.payload = memoryview(buffer)
        pending = self.orders[incoming.tag]
        while pending:
            head = pending[0]
            if isinstance(head, _Incoming):
                if head.payload is None:
                    return
                head = Message(self._peer, head.tag, head.payload)
            pending.popleft()
            self._deliver(head)
        del self.orders[incoming.tag]


def _landing(size: int, *, mlx: bool) -> np.ndarray[Any, Any]:
    """Memory for a message: not zeroed, or MLX's own so that the array needs no second copy."""
    if mlx:
        landed = mlx_arrays.landing(size)
        if landed is not None:
            return landed
    return np.empty(size, np.uint8)
