"""Which sequences decode together. Pure; owned by rank 0's engine thread.

There are as many groups as the pipeline is deep, so that every stage has one to work on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.engine.sequences import Sequence


class DecodeGroups:
    """Sequences that have their first token. Members of a group share every step."""

    def __init__(self, depth: int) -> None:
        self._groups: list[list[Sequence]] = [[] for _ in range(depth)]
        self._next = 0

    @property
    def members(self) -> list[list[Sequence]]:
        """The groups; some may be empty."""
        return self._groups

    @property
    def any(self) -> bool:
        """Whether anybody decodes."""
        return any(self._groups)

    def join(self, sequence: Sequence) -> None:
        """Into the smallest group."""
        smallest = min(range(len(self._groups)), key=lambda g: len(self._groups[g]))
        sequence.group = smallest
        self._groups[smallest].append(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Out of its group, if it is in one."""
        if sequence.group is not None:
            self._groups[sequence.group].remove(sequence)
            sequence.group = None

    def clear(self) -> None:
        """Nobody decodes."""
        self._groups = [[] for _ in self._groups]

    def take_ready(self) -> list[Sequence]:
        """The members of the next group in turn that is not under way; empty if all are."""
        self._balance()
        group = self._ready()
        if group is None:
            return []
        self._next = (group + 1) % len(self._groups)
        return list(self._groups[group])

    @property
    def ready(self) -> bool:
        """Whether a group could run now."""
        return self._ready() is not None

    def _ready(self) -> int | None:
        depth = len(self._groups)
        for turn in range(depth):
            group = (self._next + turn) % depth
            if self._groups[group] and self._at_rest(group):
                return group
        return None

    def _at_rest(self, group: int) -> bool:
        return not any(s.awaiting for s in self._groups[group])

    def _balance(self) -> None:
        """Move one sequence from the largest group to the smallest, if the largest is at rest."""
        sizes = [len(g) for g in self._groups]
        largest, smallest = sizes.index(max(sizes)), sizes.index(min(sizes))
        if sizes[largest] - sizes[smallest] > 1 and self._at_rest(largest):
            moved = self._groups[largest].pop()
            moved.group = smallest
            self._groups[smallest].append(moved)
