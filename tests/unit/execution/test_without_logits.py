"""A forward whose logits nobody looks at: same caches, no head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import pytest

from daemon.execution.loading import load_stage
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("lo", [0, 5])
def test_caches_are_the_same_and_the_head_is_not_run(
    model_folder: Callable[[str], Path], lo: int
) -> None:
    """On the last stage, whole model or not; the next forward is as if nothing had been saved."""
    stage = load_stage(model_folder("8bit"), lo, 8)
    ids = mx.array([staged.random_prompt(9, 512)])
    received = mx.random.normal((1, 9, 64), key=mx.random.key(1)).astype(mx.bfloat16)
    filled: list[list[mx.array]] = []
    for logits in (True, False):
        caches = stage.make_caches()
        out = stage.forward(ids, received, caches, logits=logits)
        assert out.shape[-1] == (512 if logits else 64)
        filled.append(caches.arrays())
    for one, two in zip(*filled, strict=True):
        assert mx.array_equal(one, two).item()
    again = stage.forward(ids[:, :1], received[:, :1], stage.make_caches())
    assert again.shape == (1, 1, 512)
