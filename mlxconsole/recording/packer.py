"""Packs updates into blocks of a few seconds, each of which can be read without those before it.

Pure but for the clock. Runs in the loop of whoever follows the ranks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon import __version__
from mlxconsole.recording.form import Header, member, pack, pack_header
from mlxconsole.source.base import ContactLost, FrameArrived
from protos.control_pb2 import WatchFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlxconsole.cluster import Cluster
    from mlxconsole.source.base import Update

BLOCK_S = 2.0
"""What a crash of the recorder may cost."""
BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Block:
    """A few seconds, packed; seconds count from the header's time."""

    from_s: float
    until_s: float
    data: bytes


class Packer:
    """Gathers updates until a block is full."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._started_s = clock()
        self.header = member(pack_header(Header(cluster, wall_clock(), __version__)))
        """What a file begins with."""
        self._records: list[bytes] = []
        self._size = 0
        self._from_s = 0.0
        self._lost: dict[int, tuple[FrameArrived | None, ContactLost]] = {}
        """Ranks without contact send nothing: each block begins with what was known of them."""
        self._seen: dict[int, FrameArrived] = {}

    def now_s(self) -> float:
        """Seconds since the header's time."""
        return self._clock() - self._started_s

    def take(self, update: Update) -> Block | None:
        """Take an update in; the block that it has filled, if so."""
        at_s = update.at_s - self._started_s
        if not self._records:
            self._begin(at_s)
        self._add(update, at_s)
        match update:
            case FrameArrived(rank=rank):
                self._seen[rank] = update
                self._lost.pop(rank, None)
            case ContactLost(rank=rank):
                self._lost[rank] = (self._seen.get(rank), update)
        full = at_s - self._from_s >= BLOCK_S or self._size >= BLOCK_BYTES
        return self.close() if full else None

    def close(self) -> Block | None:
        """The block that was begun, however full; None if nothing came."""
        if not self._records:
            return None
        block = Block(self._from_s, self.now_s(), member(b"".join(self._records)))
        self._records, self._size = [], 0
        return block

    def _begin(self, at_s: float) -> None:
        self._from_s = at_s
        for seen, lost in self._lost.values():
            if seen is not None:
                only_status = WatchFrame(status=seen.frame.status)
                self._add(FrameArrived(seen.rank, only_status, at_s), at_s)
            self._add(lost, at_s)

    def _add(self, update: Update, at_s: float) -> None:
        record = pack(update, at_s)
        self._records.append(record)
        self._size += len(record)
