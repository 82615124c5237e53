"""How many bytes of KV each rank may hold, and what fits. Pure, no MLX; any thread.

mlx-lm grows a cache by a fixed number of tokens, and merged caches are as long as their longest
row; both are counted, so that what is counted is what is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GROWTH_TOKENS = 256
"""By which mlx-lm grows a cache."""
SLACK_TOKENS = GROWTH_TOKENS
"""Room to grow that a sequence must find when it is admitted."""
LONGEST = 1 << 31


@dataclass(frozen=True)
class RankKv:
    """One rank's share of the model's caches, and the memory for it."""

    capacity_bytes: int
    """For live sequences and the prefix cache together."""
    prefix_bytes: int
    """Of these, at most so many for the prefix cache."""
    token_bytes: int
    """Per token, of caches that keep everything."""
    windows: tuple[tuple[int, int], ...] = ()
    """(tokens kept, bytes per token) of caches that forget."""
    state_bytes: int = 0
    """Per sequence, of recurrent layers."""

    def sequence_bytes(self, tokens: int) -> int:
        """Bytes of one sequence of so many tokens."""
        grown = -(-tokens // GROWTH_TOKENS) * GROWTH_TOKENS
        return self.token_bytes * grown + self.snapshot_bytes(grown)

    def snapshot_bytes(self, tokens: int = LONGEST) -> int:
        """Bytes of what is copied whole: windows and states."""
        windows = sum(min(tokens, kept) * size for kept, size in self.windows)
        return windows + self.state_bytes


@dataclass(frozen=True)
class KvUse:
    """What is held, or would be, in the units that the ranks share."""

    groups: tuple[tuple[int, int], ...] = ()
    """(sequences, tokens of the longest) of caches that are merged."""
    blocks: int = 0
    snapshots: int = 0


@dataclass(frozen=True)
class KvBudget:
    """All ranks' memory for KV; the tightest decides."""

    ranks: tuple[RankKv, ...]
    block_tokens: int

    def fits(self, use: KvUse) -> bool:
        """Whether every rank can hold it."""
        return all(
            self._live(r, use) + self._prefix(r, use) <= r.capacity_bytes for r in self.ranks
        )

    def prefix_fits(self, use: KvUse) -> bool:
        """Whether the prefix cache is within its own bound, and all together fits."""
        within = all(self._prefix(rank, use) <= rank.prefix_bytes for rank in self.ranks)
        return within and self.fits(use)

    def longest(self) -> int:
        """Tokens of the longest sequence that can be held, when it is alone."""
        low, high = 0, LONGEST
        if self.fits(KvUse(((1, high),))):
            return high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.fits(KvUse(((1, middle),))) else (low, middle)
        return low

    def capacities(self, ranges: Iterable[tuple[int, int]]) -> tuple[int, ...]:
        """Bytes per rank of a plan; 0 for those without layers, which are left out here."""
        working = iter(self.ranks)
        return tuple(next(working).capacity_bytes if hi > lo else 0 for lo, hi in ranges)

    def tightest(self) -> int:
        """The rank that holds the fewest tokens."""
        room = [KvBudget((rank,), self.block_tokens).longest() for rank in self.ranks]
        return room.index(min(room))

    def _prefix(self, rank: RankKv, use: KvUse) -> int:
        whole = rank.snapshot_bytes() if use.snapshots else 0
        return use.blocks * self.block_tokens * rank.token_bytes + use.snapshots * whole

    @staticmethod
    def _live(rank: RankKv, use: KvUse) -> int:
        return sum(count * rank.sequence_bytes(tokens) for count, tokens in use.groups)


def grouped(lengths: Iterable[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """`KvUse.groups` of sequences by the groups that they run in."""
    return tuple((len(group), max(group)) for group in lengths if group)
