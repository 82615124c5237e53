"""Where the caches of every sequence are: alone, or merged in a batch with others.

Batches stay merged from step to step, so that decoding copies nothing; joining and leaving copies
once. Knows no steps. Engine thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.execution.batch import Batch, can_merge
from daemon.execution.caches import window_of
from daemon.execution.together import EXACT_TOGETHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daemon.execution.stage import Stage, StageCaches


class CachePool:
    """The caches of one stage."""

    def __init__(self, stage: Stage, *, batching: bool | None = None) -> None:
        self._stage = stage
        self._alone: dict[int, StageCaches] = {}
        self._batch_of: dict[int, Batch] = {}
        sample = stage.make_caches()
        wanted = stage.architecture in EXACT_TOGETHER if batching is None else batching
        self._longest = min((window_of(cache) for cache in sample.owned), default=float("inf"))
        self.batching = (
            wanted
            and stage.traced.stackable
            and not sample.shadows
            and all(can_merge(cache) for cache in sample.owned)
        )
        """Whether sequences can run together on this stage."""

    def __contains__(self, sequence_id: int) -> bool:
        return sequence_id in self._alone or sequence_id in self._batch_of

    def __len__(self) -> int:
        return len(self._alone) + len(self._batch_of)

    @property
    def nbytes(self) -> int:
        """Bytes of all caches."""
        batches = {id(batch): batch for batch in self._batch_of.values()}
        merged = sum(batch.caches.nbytes for batch in batches.values())
        return merged + sum(caches.nbytes for caches in self._alone.values())

    def open(self, sequence_id: int, caches: StageCaches | None = None) -> None:
        """Make room for a sequence, or go on from ``caches``; one of that id is forgotten."""
        self.close(sequence_id)
        self._alone[sequence_id] = caches or self._stage.make_caches()

    def close(self, sequence_id: int) -> None:
        """Forget a sequence, if there is one; its row of a batch goes when the batch runs next."""
        self._alone.pop(sequence_id, None)
        self._batch_of.pop(sequence_id, None)

    def clear(self) -> None:
        """Forget all."""
        self._alone.clear()
        self._batch_of.clear()

    def alone(self, sequence_id: int) -> StageCaches:
        """Caches for a forward of this sequence only."""
        batch = self._batch_of.pop(sequence_id, None)
        if batch is not None:
            self._alone[sequence_id] = batch.extract(sequence_id)
        return self._alone[sequence_id]

    def fits_together(self, sequence_ids: Sequence[int]) -> bool:
        """Whether these can run as one batch now.

        Empty caches can't be merged with full ones. Beyond its window a rotating cache holds the
        tokens in an order of its own, so merging would change the low bits of sums.
        """
        return (
            self.batching
            and len(sequence_ids) > 1
            and len(set(sequence_ids)) == len(sequence_ids)
            and all(0 < self._length(sequence_id) < self._longest for sequence_id in sequence_ids)
        )

    def together(self, sequence_ids: Sequence[int]) -> Batch:
        """The batch of exactly these sequences, in this order."""
        wanted = set(sequence_ids)
        parts: list[Batch] = []
        for batch in self._batches(sequence_ids):
            live = [member for member in batch.members if self._batch_of.get(member) is batch]
            for member in live:
                if member not in wanted:
                    self.alone(member)
            batch.arrange([member for member in live if member in wanted])
            parts.append(batch)
        newcomers = [member for member in sequence_ids if member in self._alone]
        if newcomers:
            parts.append(Batch.merge(newcomers, [self._alone[member] for member in newcomers]))
        whole = parts[0]
        for part in parts[1:]:
            whole.extend(part)
        whole.arrange(sequence_ids)
        for member in sequence_ids:
            self._alone.pop(member, None)
            self._batch_of[member] = whole
        return whole

    def _length(self, sequence_id: int) -> int:
        """Tokens that a sequence has run."""
        batch = self._batch_of.get(sequence_id)
        if batch is None:
            return self._alone[sequence_id].length
        return batch.lengths[batch.members.index(sequence_id)]

    def _batches(self, sequence_ids: Iterable[int]) -> list[Batch]:
        """The different batches that these are in."""
        found = {id(b): b for s in sequence_ids if (b := self._batch_of.get(s)) is not None}
        return list(found.values())
