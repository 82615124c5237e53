"""Log probabilities of a prompt's own tokens, from stages and chunks of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model

from daemon.messages import SamplingParams
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from daemon.messages import PromptScores

PROMPT = staged.random_prompt(37, 512)
SCORED = SamplingParams(logprobs=True, top_logprobs=3, prompt_logprobs=True)


def whole_model(folder: Path, prompt: Sequence[int]) -> np.ndarray:
    """(length, vocabulary): what the model says after each token."""
    model, _ = load_model(folder)
    logits = model(mx.array([list(prompt)]))[0].astype(mx.float32)
    return np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))


def scores(
    folder: Path, ranges: list[tuple[int, int]], prompt: Sequence[int], chunk: int
) -> PromptScores:
    """As they come with the first token, and with no other."""
    ranks = staged.load_executors(folder, ranges)
    first, second = staged.generate(ranks, prompt, 2, SCORED, chunk=chunk)
    assert second.prompt is None
    assert first.prompt is not None
    return first.prompt


@pytest.mark.parametrize("ranges", [[(0, 8)], [(0, 3), (3, 8)]], ids=str)
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_every_token_but_the_first_has_a_score(
    model_folder: Callable[[str], Path], ranges: list[tuple[int, int]], chunk: int
) -> None:
    """The seam between chunks neither loses nor doubles one."""
    folder = model_folder("dense")
    expected = whole_model(folder, PROMPT)
    found = scores(folder, ranges, PROMPT, chunk)
    rows = np.arange(len(PROMPT) - 1)
    np.testing.assert_allclose(found.logprobs, expected[rows, PROMPT[1:]], atol=2e-4)
    np.testing.assert_array_equal(found.top_tokens[:, 0], expected[:-1].argmax(-1))
    best = np.take_along_axis(expected[:-1], found.top_tokens, axis=-1)
    np.testing.assert_allclose(found.top_logprobs, best, atol=2e-4)
    assert (np.diff(found.top_logprobs) <= 0).all()


def test_a_prompt_of_one_token_has_none(model_folder: Callable[[str], Path]) -> None:
    """Nothing comes before it."""
    assert scores(model_folder("dense"), [(0, 8)], [5], 16).logprobs.shape == (0,)


def test_one_that_goes_on_after_a_loss_is_not_scored_again(
    model_folder: Callable[[str], Path],
) -> None:
    """The client has them: they came with the first token."""
    ranks = staged.load_executors(model_folder("dense"), [(0, 8)])
    [token] = staged.generate(ranks, PROMPT, 1, SCORED, before=[7, 8])
    assert token.prompt is None
