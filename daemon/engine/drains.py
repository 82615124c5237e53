"""Ranks that the operator takes out of work, and what that asks of the others. Rank 0, pure.

Where the others have the memory they take the rank's layers, and requests go on after a pause.
Where they have not, or for rank 0 itself, which decides everything, no new request is admitted:
those that run end in their own time, others wait.
"""

from __future__ import annotations


class Drains:
    """Which ranks drain, how, and since when no request is admitted."""

    def __init__(self) -> None:
        self._moved: set[int] = set()
        """Others have their layers."""
        self._told: set[int] = set()
        """Ranks that are done."""
        self._holding: set[int] = set()
        """Ranks for whose sake nothing is admitted."""
        self._since_s: float | None = None

    @property
    def admits(self) -> bool:
        """Whether new requests may begin."""
        return not self._holding

    def draining(self, rank: int) -> bool:
        """Whether this rank is, or has been, taken out of work."""
        return rank in self._moved or rank in self._holding

    def is_done(self, rank: int) -> bool:
        """Whether it drains and has nothing left to do."""
        return rank in self._told

    def moved(self, rank: int) -> None:
        """Others have taken its layers."""
        self._moved.add(rank)

    def hold(self, rank: int, now_s: float) -> None:
        """Nobody else can have its layers: admit nothing."""
        self._holding.add(rank)
        self._since_s = self._since_s or now_s

    def end(self, rank: int) -> bool:
        """The rank may work again, or is gone; whether its layers are with others."""
        was_moved = rank in self._moved
        for ranks in (self._moved, self._told, self._holding):
            ranks.discard(rank)
        if not self._holding:
            self._since_s = None
        return was_moved

    def done(self, running: int) -> list[int]:
        """Ranks that have just become free of work, given how many requests still run."""
        ready = self._moved | (self._holding if not running else set())
        fresh = sorted(ready - self._told)
        self._told |= set(fresh)
        return fresh

    def held_s(self, now_s: float) -> float:
        """How long nothing has been admitted."""
        return now_s - self._since_s if self._since_s is not None else 0.0
