"""The flight recorder: the last minutes of everything that came, in memory, ready for a file.

Bounded in time and in bytes, oldest first. Runs in the loop of whoever follows the ranks.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from mlxconsole.recording.packer import Block, Packer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlxconsole.cluster import Cluster
    from mlxconsole.source.base import Update

LONGEST_S = 1_800.0
MOST_BYTES = 24 * 1024 * 1024
"""Packed: about five minutes of 64 ranks with 100 log lines a second each, hours of calm ones."""


class FlightRecorder:
    """Takes every update in; hands out the last seconds as the bytes of a recording."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        *,
        longest_s: float = LONGEST_S,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._packer = Packer(cluster, clock, wall_clock)
        self._longest_s, self._most_bytes = longest_s, most_bytes
        self._blocks: deque[Block] = deque()
        self.kept_bytes = 0
        """Of all blocks."""

    def take(self, update: Update) -> None:
        """Keep an update."""
        self._keep(self._packer.take(update))

    def capsule(self, seconds: float) -> bytes:
        """The last ``seconds``, rounded up to a block, as the bytes of a file."""
        self._keep(self._packer.close())
        oldest_s = self._packer.now_s() - seconds
        kept = (block.data for block in self._blocks if block.until_s >= oldest_s)
        return b"".join((self._packer.header, *kept))

    def _keep(self, block: Block | None) -> None:
        if block is None:
            return
        self._blocks.append(block)
        self.kept_bytes += len(block.data)
        oldest_s = block.until_s - self._longest_s
        while self.kept_bytes > self._most_bytes or self._blocks[0].until_s < oldest_s:
            self.kept_bytes -= len(self._blocks.popleft().data)
