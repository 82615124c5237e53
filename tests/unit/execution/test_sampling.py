"""Sampling parameters mean what they mean in mlx-lm, and keys belong to the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.sample_utils import make_logits_processors

from daemon.execution.sampling import Sampler
from daemon.messages import OpenSequence, SamplingParams
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon.execution.executor import StageExecutor

PROMPT = staged.random_prompt(20, 512)
COUNT = 24
WHOLE = 1 << 30


@pytest.fixture(scope="module")
def two_ranks(model_folder: Callable[[str], Path]) -> list[StageExecutor]:
    """The dense model on two stages."""
    return staged.load_executors(model_folder("dense"), [(0, 4), (4, 8)])


def _tokens(executors: list[StageExecutor], **sampling: Any) -> list[int]:
    answer = staged.generate(executors, PROMPT, COUNT, SamplingParams(**sampling))
    return [out.token for out in answer]


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 1.0},
        {"temperature": 0.8, "top_p": 0.95},
        {"temperature": 1.5, "top_k": 40},
        {"temperature": 1.0, "min_p": 0.1},
        {"temperature": 1.2, "top_p": 0.9, "min_p": 0.02, "top_k": 50},
    ],
    ids=str,
)
def test_filters_equal_mlx_lm(
    params: dict[str, float], two_ranks: list[StageExecutor], model_folder: Callable[[str], Path]
) -> None:
    """Each filter alone, and all in mlx-lm's order."""
    given: dict[str, Any] = {
        "temp" if key == "temperature" else key: value for key, value in params.items()
    }
    expected = staged.reference(model_folder("dense"), PROMPT, COUNT, seed=7, **given)
    assert _tokens(two_ranks, seed=7, **params) == expected


@pytest.mark.parametrize(
    ("params", "theirs"),
    [
        ({"logit_bias": ((5, 4.0), (9, -3.0))}, {"logit_bias": {5: 4.0, 9: -3.0}}),
        ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
        ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
        ({"frequency_penalty": 0.7}, {"frequency_penalty": 0.7}),
    ],
    ids=str,
)
def test_penalties_equal_mlx_lm(
    params: dict[str, Any],
    theirs: dict[str, Any],
    two_ranks: list[StageExecutor],
    model_folder: Callable[[str], Path],
) -> None:
    """Bias and repetition see all tokens; presence and frequency, as OpenAI, the answer only."""
    sizes: dict[str, Any] = {
        f"{name}_context_size": WHOLE for name in ("repetition", "presence", "frequency")
    }
    (processor,) = make_logits_processors(**theirs, **sizes)
    counts_answer_only = bool({"presence_penalty", "frequency_penalty"} & set(params))

    def process(tokens: mx.array, logits: mx.array) -> mx.array:
        return processor(tokens[len(PROMPT) :] if counts_answer_only else tokens, logits)

    folder = model_folder("dense")
    expected = staged.reference(folder, PROMPT, COUNT, processors=[process])
    assert expected != staged.reference(folder, PROMPT, COUNT), "the parameter must matter here"
    assert _tokens(two_ranks, **params) == expected


def test_a_recovered_sequence_goes_on_with_the_same_tokens(
    two_ranks: list[StageExecutor],
) -> None:
    """After a loss, prompt and earlier tokens are run again; the chain of keys goes on."""
    sampling = SamplingParams(temperature=0.9, top_p=0.9, seed=3, presence_penalty=0.5)
    whole = [out.token for out in staged.generate(two_ranks, PROMPT, COUNT, sampling)]
    rest = staged.generate(two_ranks, PROMPT, COUNT - 10, sampling, before=whole[:10])
    assert [out.token for out in rest] == whole[10:]


def test_seeds_differ(two_ranks: list[StageExecutor]) -> None:
    """Another seed, another answer."""
    assert _tokens(two_ranks, temperature=1.0, seed=1) != _tokens(
        two_ranks, temperature=1.0, seed=2
    )


def _choose(logits: mx.array, **sampling: Any) -> Any:
    sampler = Sampler(OpenSequence(1, SamplingParams(**sampling), 2))
    return sampler.finish(sampler.pick(logits, [0, 1]))


def test_logprobs_are_the_models_before_temperature() -> None:
    """What OpenAI clients show: natural logs, best first, of the chosen token too."""
    logits = mx.array([[1.0, 3.0, 2.0, -1.0]])
    expected = np.array(logits[0]) - np.logaddexp.reduce(np.array(logits[0]))
    out = _choose(logits, temperature=5.0, seed=2, logprobs=True, top_logprobs=3)
    assert [token for token, _ in out.top] == [1, 2, 0]
    np.testing.assert_allclose([p for _, p in out.top], expected[[1, 2, 0]], rtol=1e-6)
    assert out.logprob == pytest.approx(expected[out.token], rel=1e-6)


def test_logprobs_cost_nothing_unless_asked_for() -> None:
    """The fields stay empty."""
    out = _choose(mx.array([[1.0, 3.0]]))
    assert (out.token, out.logprob, out.top) == (1, 0.0, ())


def test_counts_beyond_the_vocabulary_are_all_of_it() -> None:
    """top_k and top_logprobs may exceed a small vocabulary."""
    out = _choose(mx.array([[1.0, 3.0]]), temperature=1.0, top_k=50, logprobs=True, top_logprobs=20)
    assert len(out.top) == 2


def test_half_precision_logprobs_are_exact_enough() -> None:
    """bfloat16 logits have 8 bits; the logarithm of their sum is taken in float32."""
    logits = mx.random.normal((1, 5000), key=mx.random.key(1)).astype(mx.bfloat16)
    out = _choose(logits, logprobs=True, top_logprobs=5)
    wide = np.array(logits[0].astype(mx.float32), dtype=np.float64)
    assert out.logprob == pytest.approx(wide.max() - np.logaddexp.reduce(wide), abs=1e-5)
