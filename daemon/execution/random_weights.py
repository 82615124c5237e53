"""Fills a model with random weights that keep its answers varied. Engine thread.

With plain random weights greedy answers collapse to one repeated token, and every comparison of
answers would be blind.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx.utils import tree_unflatten

from daemon.execution.skeleton import parameters


def randomise(model: Any, dtype: mx.Dtype = mx.float32, seed: int = 0) -> None:
    """Replace every parameter of ``model``; the same seed gives the same values everywhere."""
    new: list[tuple[str, mx.array]] = []
    for number, (name, old) in enumerate(sorted(parameters(model).items())):
        if not mx.issubdtype(old.dtype, mx.floating):
            new.append((name, old))
            continue
        noise = mx.random.normal(old.shape, key=mx.random.key(seed * 1_000_003 + number))
        new.append((name, _scaled(name, old, noise).astype(dtype)))
    model.update(tree_unflatten(new))


def _scaled(name: str, old: mx.array, noise: mx.array) -> mx.array:
    if old.ndim >= 2:
        # Strong blocks: the answer must not be decided by the embedding alone.
        # Sharp attention: it must depend on the whole context.
        gains = {"o_proj": 3.0, "down_proj": 3.0, "q_proj": 2.0, "k_proj": 2.0}
        gain = next((gain for part, gain in gains.items() if part in name), 1.0)
        return noise * gain / old.shape[-1] ** 0.5
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return 2.0 * (1.0 + 0.1 * noise)
    return old + 0.02 * noise
