"""The line of requests that wait for a place. Pure; owned by rank 0's engine thread."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from daemon.errors import QueueFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.engine.sequences import Sequence

MOST_PASSED = 16
"""Others that may go before the first in line while that one waits for memory."""


class WaitingLine:
    """First come, first served; but a short request need not wait until a long one has room."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._line: deque[Sequence] = deque()
        self._passed = 0

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._line)

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._line

    def add(self, sequence: Sequence) -> None:
        """Go to the end.

        Raises:
            QueueFull: the line is at its bound.
        """
        if len(self._line) >= self._bound:
            raise QueueFull(
                f"{len(self._line)} requests wait already, the queue's bound: try again later"
            )
        self._line.append(sequence)

    def put_back(self, sequence: Sequence) -> None:
        """One that had a place goes before all who came later; the bound is not for it."""
        at = next(
            (at for at, other in enumerate(self._line) if other.arrival > sequence.arrival),
            len(self._line),
        )
        self._line.insert(at, sequence)

    def take(self, has_room: Callable[[Sequence], bool]) -> Sequence | None:
        """Who comes next; None if nobody has room now."""
        for at, sequence in enumerate(self._line):
            if has_room(sequence):
                self._passed = self._passed + 1 if at else 0
                del self._line[at]
                return sequence
            if self._passed >= MOST_PASSED:
                return None
        return None

    def remove(self, sequence: Sequence) -> None:
        """It does not want to any more."""
        if self._line[0] is sequence:
            self._passed = 0
        self._line.remove(sequence)

    def drain(self) -> list[Sequence]:
        """Everybody, in order; the line is empty then."""
        everybody = list(self._line)
        self._line.clear()
        self._passed = 0
        return everybody
