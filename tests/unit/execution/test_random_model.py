"""Models to measure with: of the shape that was asked for, and servable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import pytest

from daemon.execution.card import inspect
from daemon.execution.loading import load_stage
from daemon.execution.random_model import write_random_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("bits", "dtype"), [(0, "float32"), (8, "bfloat16"), (4, "float32")])
@pytest.mark.parametrize("experts", [0, 4, 16])
def test_a_model_is_as_it_was_asked_for(
    tmp_path: Path, experts: int, bits: int, dtype: str
) -> None:
    """A mixture touches some of its weights for a token, all others all of them."""
    folder = write_random_model(
        tmp_path, layers=2, width=128, bits=bits, experts=experts, dtype=dtype
    )
    card = inspect(folder)
    assert (card.n_layers, card.model_type) == (2, "qwen3_moe" if experts else "qwen3")
    assert card.weight_bits == (bits or 32)
    touched_all = sum(card.layer_work_bytes) == sum(card.layer_bytes)
    assert touched_all == (experts <= 8)
    stage = load_stage(folder, 0, card.n_layers)
    norm = stage.model.layers[0].input_layernorm.weight
    assert norm.dtype == getattr(mx, dtype)
