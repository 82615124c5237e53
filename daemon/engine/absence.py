"""When to go on without ranks that stay away. Pure: the caller tells the time."""

from __future__ import annotations


class Absence:
    """Remembers since when which ranks have been missing."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since_s: dict[int, float] = {}
        self._given_up: frozenset[int] = frozenset()

    def overdue(self, missing: tuple[int, ...], now_s: float) -> tuple[int, ...]:
        """Those of ``missing`` that have been so for too long; nothing if that was told before."""
        self._since_s = {rank: self._since_s.get(rank, now_s) for rank in missing}
        late = tuple(r for r, since_s in self._since_s.items() if now_s - since_s > self._limit_s)
        if not missing:
            self._given_up = frozenset()
        if self._given_up.issuperset(late):
            return ()
        self._given_up = frozenset(late)
        return late
