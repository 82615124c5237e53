"""Caches of several sequences merged for one forward, with mlx-lm's own batch caches.

Knows no steps. Engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from daemon.execution.stage import StageCaches

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Batch:
    """Sequences whose caches are merged, in the order of their rows."""

    members: list[int]
    caches: StageCaches
    lengths: list[int]
    """Tokens run of each member."""

    @staticmethod
    def merge(members: Sequence[int], caches: Sequence[StageCaches]) -> Batch:
        """Copy the caches of several sequences into one."""
        parts = zip(*(item.owned for item in caches), strict=True)
        owned = [None if same[0] is None else type(same[0]).merge(list(same)) for same in parts]
        return Batch(list(members), StageCaches(owned), [item.length for item in caches])

    def ran(self, tokens: int) -> None:
        """Every member has run that many tokens more."""
        self.lengths = [length + tokens for length in self.lengths]

    def extend(self, other: Batch) -> None:
        """Append the members of ``other``, which is used up."""
        for mine, theirs in zip(self.caches.owned, other.caches.owned, strict=True):
            if mine is not None:
                mine.extend(theirs)
        self.members += other.members
        self.lengths += other.lengths

    def arrange(self, members: Sequence[int]) -> None:
        """Keep only these, in this order."""
        if list(members) == self.members:
            return
        at = [self.members.index(member) for member in members]
        for cache in self.caches.owned:
            if cache is not None:
                cache.filter(mx.array(at))
        self.members = list(members)
        self.lengths = [self.lengths[index] for index in at]

    def extract(self, member: int) -> StageCaches:
        """A copy of one member's caches, to run it alone."""
        at = self.members.index(member)
        owned: list[Any] = [
            None if cache is None else cache.extract(at) for cache in self.caches.owned
        ]
        return StageCaches(owned, {}, self.lengths[at])


def can_merge(cache: Any) -> bool:
    """Whether mlx-lm has a batch cache for this one."""
    if cache is None:
        return True
    if hasattr(cache, "caches"):
        return all(can_merge(part) for part in cache.caches)
    # A merged rotating cache forgets the tokens that the single one keeps for ever.
    return hasattr(cache, "merge") and not getattr(cache, "keep", 0)
