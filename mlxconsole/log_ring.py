"""The merged log of all ranks: bounded, and numbered so that views keep their place.

Pure; knows no screen.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mlxconsole.log_block import LogBlock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlxconsole.log_entry import LogEntry

CAPACITY = 200_000
"""About four minutes of 8 ranks with 100 lines a second each."""
BLOCKS = 25
"""The oldest lines go by blocks; a full ring has all but the last of them."""


class LogRing:
    """The last lines, oldest dropped first; a line keeps its number for ever."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        """It never has more lines, and at most a block less when it is full."""
        self._block_lines = max(1, capacity // BLOCKS)
        self._blocks = deque([LogBlock(0)])
        self.end = 0
        """One past the number of the newest line."""

    @property
    def start(self) -> int:
        """Number of the oldest line that is still there."""
        return self._blocks[0].first

    def extend(self, entries: Iterable[LogEntry]) -> None:
        """Append lines."""
        newest = self._blocks[-1]
        for entry in entries:
            if len(newest) == self._block_lines:
                newest = LogBlock(self.end)
                self._blocks.append(newest)
            newest.append(entry)
            self.end += 1
            if self.end - self.start > self.capacity:
                self._blocks.popleft()

    def between(self, first: int, end: int, *, ready: bool = False) -> list[LogEntry]:
        """The lines from number ``first`` up to, without, ``end``; those that are still there.

        Args:
            first: number of a line.
            end: one past the last wanted.
            ready: their texts will be read: put them together for good.
        """
        found: list[LogEntry] = []
        at, end = max(first, self.start), min(end, self.end)
        while at < end:
            block = self._block(at)
            if ready:
                block.make_ready()
            stop = min(end, block.first + len(block))
            found += map(block.entry, range(at - block.first, stop - block.first))
            at = stop
        return found

    def get(self, number: int) -> LogEntry | None:
        """The line with this number, or None when it is gone or not there yet."""
        if not self.start <= number < self.end:
            return None
        block = self._block(number)
        return block.entry(number - block.first)

    def times_s(self, first: int, end: int) -> list[float]:
        """When each of the lines was written, which must be there: unix time, its rank's clock."""
        found: list[float] = []
        while first < end:
            block = self._block(first)
            stop = min(end, block.first + len(block))
            found += map(block.time_s, range(first - block.first, stop - block.first))
            first = stop
        return found

    def _block(self, number: int) -> LogBlock:
        return self._blocks[(number - self.start) // self._block_lines]
