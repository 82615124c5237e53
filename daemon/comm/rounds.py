"""One collective operation of one rank: its tag, its deadline, and the check that ranks agree.

Every message begins with the signature of the operation. Who sees another one than its own, or
gives up for any reason, tells all others, so that nobody waits for it in vain.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self

from daemon.errors import CollectiveMismatch, CommError, PeerLost, RecvTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from daemon.comm.bulk import Transfer

_HEAD = struct.Struct("<H")
_ALIGNMENT = 16
SECOND_PHASE = 1 << 60
"""Added to the tag of messages that may overtake those of the first phase."""
_ABORT = struct.Struct("<QB")
_KINDS: tuple[type[CommError], ...] = (CollectiveMismatch, PeerLost, RecvTimeout, CommError)


class Port(Protocol):
    """What a round needs of the communicator."""

    rank: int
    world_size: int

    def push(
        self, dst: int, tag: int, parts: Sequence[bytes | memoryview], timeout_s: float
    ) -> Transfer | None:
        """Send without waiting; memory of a result must not change before it is over."""
        ...

    def settle(self, dst: int, transfer: Transfer, timeout_s: float) -> None:
        """Wait until a transfer has arrived."""
        ...

    def pull(self, source: int, tag: int, timeout_s: float) -> memoryview:
        """The next message of a rank and a tag."""
        ...

    def abort(self, tag: int, notice: bytes) -> None:
        """Tell every other rank, as well as possible, that this one gives up."""
        ...


class Round:
    """Context of one collective; all its messages go through here."""

    def __init__(self, port: Port, tag: int, signature: str, timeout_s: float) -> None:
        self._head = _head(signature)
        self._port = port
        self._tag = tag
        self._began = time.monotonic()
        self._deadline = self._began + timeout_s
        self._transfers: deque[tuple[int, Transfer]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, CommError):
            elapsed_s = time.monotonic() - self._began
            error.fill(rank=self._port.rank, peer=None, tag=self._tag, elapsed_s=elapsed_s)
        if kind is None:
            for dst, transfer in self._transfers:
                self._port.settle(dst, transfer, self._left_s())
        elif error is not None and not getattr(error, "from_peer", False):
            number = next((i for i, each in enumerate(_KINDS) if issubclass(kind, each)), 3)
            text = f"rank {self._port.rank}: {error}"[:1000].encode()
            self._port.abort(self._tag, _ABORT.pack(self._tag, number) + text)

    def send(self, dst: int, *parts: bytes | memoryview, phase: int = 0) -> None:
        """Send bytes to a rank; they must not change before the round is over."""
        transfer = self._port.push(dst, self._tag | phase, (self._head, *parts), self._left_s())
        if transfer is not None:
            self._transfers.append((dst, transfer))
            while self._transfers[0][1].over and len(self._transfers) > 1:
                self._transfers.popleft()

    def receive(self, source: int, *, phase: int = 0) -> memoryview:
        """The next bytes of a phase from a rank.

        Raises:
            CollectiveMismatch: it is in another operation, or in the same on other data.
            PeerLost, RecvTimeout: as for `recv`.
        """
        payload = self._port.pull(source, self._tag | phase, self._left_s())
        head = self._head
        if bytes(payload[: len(head)]) != head:
            raise CollectiveMismatch(
                f"rank {source} is in {_signature(payload)}, "
                f"rank {self._port.rank} in {_signature(memoryview(head))}",
                rank=self._port.rank,
                peer=source,
            )
        return payload[len(head) :]

    def _left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())


@lru_cache(maxsize=256)
def _head(signature: str) -> bytes:
    text = signature.encode()
    return _HEAD.pack(len(text)) + text + b"\0" * (-(_HEAD.size + len(text)) % _ALIGNMENT)


def read_abort(notice: bytes | memoryview) -> tuple[int, CommError]:
    """Tag and error of a rank that gave up."""
    tag, kind = _ABORT.unpack_from(notice)
    error: Any = _KINDS[min(kind, 3)](bytes(notice[_ABORT.size :]).decode(errors="replace"))
    error.from_peer = True
    return tag, error


def _signature(payload: memoryview) -> str:
    if len(payload) < _HEAD.size:
        return "nothing that we know"
    (size,) = _HEAD.unpack_from(payload)
    return bytes(payload[_HEAD.size : _HEAD.size + min(size, 200)]).decode(errors="replace")
