"""Reads what mlx-lm's caches have in common: their kind and their size. Engine thread."""

from __future__ import annotations

from typing import Any

from daemon.execution.skeleton import arrays_in

GROWTH_TOKENS = 256
"""By which mlx-lm grows a cache."""
GROWING = frozenset(["KVCache", "QuantizedKVCache"])
"""Caches with one entry per token, which can be cut and joined anywhere."""

# Attributes that decide which mask a cache makes.
KIND_ATTRIBUTES = ("max_size", "keep", "chunk_size", "window_size", "bits", "group_size")


def cache_kind(cache: Any) -> Any:
    """A value that is equal for caches which give the same masks and positions."""
    if cache is None:
        return None
    name = type(cache).__name__
    if hasattr(cache, "caches"):
        return (name, *(cache_kind(part) for part in cache.caches))
    known = vars(cache)
    return (name, *((key, known[key]) for key in KIND_ATTRIBUTES if key in known))


def window_of(cache: Any) -> float:
    """Tokens after which a cache forgets the oldest; infinite if it never does."""
    if hasattr(cache, "caches"):
        return min((window_of(part) for part in cache.caches), default=float("inf"))
    return getattr(cache, "max_size", None) or float("inf")


def cache_bytes(cache: Any) -> int:
    """Bytes that a cache holds, unused room included."""
    if cache is None:
        return 0
    return sum(array.nbytes for array in arrays_in(cache.state))


def is_growing(cache: Any) -> bool:
    """Whether a cache has an entry per token, and nothing else."""
    if hasattr(cache, "caches"):
        return all(is_growing(part) for part in cache.caches)
    return type(cache).__name__ in GROWING


def can_snapshot(cache: Any) -> bool:
    """Whether a cache's state can be taken out whole and put into another one."""
    return cache is None or (hasattr(type(cache), "from_state") and hasattr(cache, "state"))
