"""This stage's slices of the prefixes that rank 0 has named: see `engine.prefix_index`.

A block holds, of each cache that grows by one entry per token, the entries of its tokens; and with
a snapshot, the whole state of all other caches at its end. Decides nothing. Engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_map

from daemon.execution.caches import GROWTH_TOKENS, is_growing
from daemon.execution.skeleton import arrays_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.execution.stage import Stage, StageCaches

TOKEN_AXIS = 2


@dataclass
class _StoredBlock:
    tokens: tuple[int, ...]
    entries: list[Any]
    """Per owned cache a tree of arrays, or None if it does not grow."""
    states: list[Any] | None = None
    """Per owned cache that does not grow its state; None: this block has no snapshot."""

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in arrays_in([self.entries, self.states or []]))


@dataclass
class Prefix:
    """What a sequence begins with."""

    caches: StageCaches
    tokens: list[int] = field(default_factory=list[int])


class PrefixStore:
    """Blocks of one stage by their ids."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._blocks: dict[int, _StoredBlock] = {}
        self.nbytes = 0
        """Bytes held."""

    def __len__(self) -> int:
        return len(self._blocks)

    def keep(
        self,
        block_id: int,
        tokens: Sequence[int],
        caches: StageCaches,
        start: int,
        *,
        snapshot: bool,
    ) -> None:
        """Copy the entries of ``tokens``, which begin at position ``start``, out of ``caches``.

        A block that is there already gets the snapshot that it lacks.
        """
        block = self._blocks.get(block_id)
        if block is None:
            stop = start + len(tokens)
            entries = [_entries(cache, start, stop) for cache in caches.owned]
            block = self._blocks[block_id] = _StoredBlock(tuple(tokens), entries)
            mx.eval(arrays_in(entries))
            self.nbytes += block.nbytes
        if snapshot and block.states is None:
            before = block.nbytes
            block.states = [_state(cache) for cache in caches.owned]
            mx.eval(arrays_in(block.states))
            self.nbytes += block.nbytes - before

    def open(self, block_ids: Sequence[int]) -> Prefix | None:
        """Caches as they were after the last of these blocks; None if one of them is missing."""
        blocks = [self._blocks[i] for i in block_ids if i in self._blocks]
        caches = self._stage.make_caches()
        if len(blocks) < len(block_ids):
            return None
        tokens = [token for block in blocks for token in block.tokens]
        if not blocks:
            return Prefix(caches)
        states = blocks[-1].states or [None] * len(caches.owned)
        for index, cache in enumerate(caches.owned):
            _restore(cache, [block.entries[index] for block in blocks], states[index], len(tokens))
        caches.length = len(tokens)
        mx.eval(caches.arrays())
        return Prefix(caches, tokens)

    def drop(self, block_id: int) -> None:
        """Forget a block; one that is not there is fine: its step may have failed here."""
        block = self._blocks.pop(block_id, None)
        if block is not None:
            self.nbytes -= block.nbytes

    def clear(self) -> None:
        """Forget all."""
        self._blocks.clear()
        self.nbytes = 0


def _entries(cache: Any, start: int, stop: int) -> Any:
    """Copies of a growing cache's entries [start, stop)."""
    if not is_growing(cache):
        return None
    if hasattr(cache, "caches"):
        return [_entries(part, start, stop) for part in cache.caches]

    def cut(array: mx.array) -> mx.array:
        # A copy, not a view: a view would hold the memory of the whole cache.
        return mx.contiguous(array[:, :, start:stop])

    return tree_map(cut, [cache.keys, cache.values])


def _state(cache: Any) -> Any:
    """A copy of the state of a cache that does not grow."""
    if cache is None or is_growing(cache):
        return None
    return tree_map(_frozen, cache.state)


def _restore(cache: Any, entries: list[Any], state: Any, length: int) -> None:
    """Fill a fresh cache with what blocks hold of it."""
    if cache is None:
        return
    if not is_growing(cache):
        if state is not None:
            cache.state = tree_map(_frozen, state)
        return
    if hasattr(cache, "caches"):
        for index, part in enumerate(cache.caches):
            _restore(part, [entry[index] for entry in entries], None, length)
        return

    def join(*pieces: mx.array) -> mx.array:
        # As long as mlx-lm would have made it, so that the next token copies nothing.
        shape = list(pieces[0].shape)
        shape[TOKEN_AXIS] = -length % GROWTH_TOKENS
        return mx.concatenate([*pieces, mx.zeros(shape, pieces[0].dtype)], axis=TOKEN_AXIS)

    cache.keys, cache.values = tree_map(join, entries[0], *entries[1:])
    cache.offset = length


def _frozen(leaf: Any) -> Any:
    """An array of its own: what is assigned to parts of ``leaf`` later does not show in it."""
    return mx.contiguous(leaf) if isinstance(leaf, mx.array) else leaf
