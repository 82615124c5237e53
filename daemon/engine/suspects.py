"""Which requests were there every time a rank died: one of them may be what kills it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.engine.sequences import Sequence

MOST_LOSSES = 8


class Suspects:
    """Counts losses of a rank in a row, for each sequence that got no token in between.

    Without a bound, one request that runs a rank out of memory would do so for ever, and nobody
    else would be served.
    """

    def __init__(self) -> None:
        self._losses: dict[Sequence, int] = {}

    def rank_lost(self, running: Iterable[Sequence]) -> list[Sequence]:
        """A rank is gone; the sequences that have seen too many of these."""
        guilty: list[Sequence] = []
        for sequence in running:
            self._losses[sequence] = self._losses.get(sequence, 0) + 1
            if self._losses[sequence] >= MOST_LOSSES:
                guilty.append(sequence)
        return guilty

    def clear(self, sequence: Sequence) -> None:
        """It got a token, or has ended."""
        self._losses.pop(sequence, None)
