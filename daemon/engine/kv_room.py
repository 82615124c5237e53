"""Who may have KV memory, by the budget of all ranks. Pure; owned by rank 0's engine thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.engine.kv_budget import SLACK_TOKENS, KvBudget, KvUse, grouped
from daemon.errors import KvTooSmall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.engine.groups import DecodeGroups
    from daemon.engine.prefix_index import PrefixIndex
    from daemon.engine.sequences import Sequence


class KvRoom:
    """Compares what live sequences and the prefix cache hold with what the ranks can."""

    def __init__(self, index: PrefixIndex, groups: DecodeGroups) -> None:
        self._index = index
        self._groups = groups
        self._budget: KvBudget | None = None
        self._longest = 0
        self.live: Iterable[Sequence] = ()
        """Sequences that have a place; a view that stays up to date."""

    def set_budget(self, budget: KvBudget | None) -> None:
        """What the ranks of this epoch can hold; None: no bound."""
        self._budget = budget
        self._longest = budget.longest() if budget else 0

    def check(self, sequence: Sequence) -> None:
        """Limit a sequence's answer to what fits when it is alone.

        Raises:
            KvTooSmall: not even its first token does.
        """
        if self._budget is None:
            return
        if sequence.length >= self._longest:
            rank = self._budget.tightest()
            memory = self._budget.ranks[rank]
            raise KvTooSmall(
                f"{sequence.length} tokens of prompt and answer need "
                f"{memory.sequence_bytes(sequence.length + 1):,} bytes of KV cache on rank {rank}, "
                f"which has {memory.capacity_bytes:,}: at most {self._longest} tokens fit; "
                "shorten the prompt, add ranks, or set kv_bits = 8"
            )
        sequence.max_tokens = min(sequence.max_tokens, self._longest - len(sequence.prompt))

    def admits(self, sequence: Sequence) -> bool:
        """Whether it finds room, when the prefix cache gives way and all can grow a little."""
        if self._budget is None:
            return True
        others = self._held(slack=SLACK_TOKENS)
        if not others:
            return True
        mine = (1, sequence.length + 1 + SLACK_TOKENS)
        return self._budget.fits(KvUse((*others, mine)))

    def fits(self) -> bool:
        """Whether everything that is held, one token later, is within the budget."""
        if self._budget is None:
            return True
        return self._budget.fits(KvUse(self._held(), self._index.blocks, self._index.snapshots))

    def keeps(self, blocks: int, snapshots: int) -> bool:
        """Whether the prefix cache may hold that much; a `prefix_index.Room`."""
        if self._budget is None:
            return True
        return self._budget.prefix_fits(KvUse(self._held(), blocks, snapshots))

    def _held(self, slack: int = 0) -> tuple[tuple[int, int], ...]:
        together = [[s.length + 1 + slack for s in group] for group in self._groups.members]
        alone = [[s.length + 1 + slack] for s in self.live if s.group is None]
        return grouped([*together, *alone])
