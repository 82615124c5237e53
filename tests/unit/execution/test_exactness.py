"""Stages must give mlx-lm's tokens, bit for bit, whatever the number of ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.messages import SamplingParams
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_LAYERS = 8
COUNT = 20
PROMPT = staged.random_prompt(37, 512)


@pytest.mark.parametrize("variant", ["dense", "moe", "sliding", "hybrid", "8bit", "4bit"])
def test_greedy_tokens_equal_mlx_lm_on_1_2_4_8_ranks(
    variant: str, model_folder: Callable[[str], Path]
) -> None:
    """The product's first promise: cutting a model changes nothing."""
    folder = model_folder(variant)
    expected = staged.reference(folder, PROMPT, COUNT)
    assert len(set(expected)) > 5, "a repeating answer would prove little"
    for world in (1, 2, 4, 8):
        executors = staged.load_executors(folder, staged.even_ranges(N_LAYERS, world))
        tokens = [out.token for out in staged.generate(executors, PROMPT, COUNT)]
        assert tokens == expected, f"{world} ranks"


@pytest.mark.parametrize("variant", ["dense", "8bit"])
def test_seeded_tokens_equal_mlx_lm_on_1_2_4_8_ranks(
    variant: str, model_folder: Callable[[str], Path]
) -> None:
    """The key chain of a sequence is that of mx.random.seed."""
    folder = model_folder(variant)
    expected = staged.reference(folder, PROMPT, COUNT, seed=1234, temp=0.8, top_p=0.95)
    sampling = SamplingParams(temperature=0.8, top_p=0.95, seed=1234)
    for world in (1, 2, 4, 8):
        executors = staged.load_executors(folder, staged.even_ranges(N_LAYERS, world))
        tokens = [out.token for out in staged.generate(executors, PROMPT, COUNT, sampling)]
        assert tokens == expected, f"{world} ranks"
