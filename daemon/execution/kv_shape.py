"""What a model's caches take per token and per sequence, from a lazy forward. Engine thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from daemon.execution.caches import cache_bytes, can_snapshot, is_growing, window_of
from daemon.execution.trace import PROBE_SHAPE

if TYPE_CHECKING:
    from daemon.execution.skeleton import Skeleton
    from daemon.execution.trace import LayerTrace


@dataclass(frozen=True)
class KvShape:
    """Sizes per layer; caches that belong to no layer count for none."""

    token_bytes: tuple[int, ...]
    windows: tuple[int, ...]
    """Tokens after which a layer forgets the oldest; 0: never."""
    state_bytes: tuple[int, ...]
    """Of a sequence of any length."""
    cuttable: bool
    """Whether all caches have one entry per token and nothing else."""
    storable: bool
    """Whether all of them can be cut, or taken out and put back whole."""


def read_kv(skeleton: Skeleton, traced: LayerTrace) -> KvShape:
    """From the caches after a forward of a few tokens: shapes are known, nothing is computed."""
    caches = skeleton.make_caches()
    skeleton.model(mx.zeros((1, PROBE_SHAPE[1]), mx.int32), cache=caches)
    tokens, windows, states = ([0] * traced.n_layers for _ in range(3))
    for cache, owner in zip(caches, traced.cache_owner, strict=True):
        if owner >= 0:
            tokens[owner] += _token_bytes(cache)
            states[owner] += _state_bytes(cache)
            window = window_of(cache)
            windows[owner] = 0 if window == float("inf") else int(window)
    return KvShape(
        tuple(tokens),
        tuple(windows),
        tuple(states),
        cuttable=all(cache is None or is_growing(cache) for cache in caches),
        storable=all(can_snapshot(cache) for cache in caches),
    )


def _token_bytes(cache: Any) -> int:
    if hasattr(cache, "caches"):
        return sum(_token_bytes(part) for part in cache.caches)
    keys = getattr(cache, "keys", None)
    if isinstance(keys, tuple | list) and keys:
        keys = keys[0]
    if not isinstance(keys, mx.array):
        return 0
    return cache_bytes(cache) // keys.shape[2]


def _state_bytes(cache: Any) -> int:
    if hasattr(cache, "caches"):
        return sum(_state_bytes(part) for part in cache.caches)
    return 0 if cache is None or hasattr(cache, "keys") else cache_bytes(cache)
