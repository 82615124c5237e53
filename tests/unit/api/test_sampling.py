"""Parameters at their borders mean to the engine what they mean to the client."""

from __future__ import annotations

import pytest

from daemon.api.errors import ApiError
from daemon.api.sampling import for_choice, sampling_params, token_budget
from daemon.api.schemas.completion import CompletionRequest


@pytest.mark.parametrize(("asked", "given"), [(-1, 0), (0, 0), (3, 3), (300, 0), (2**40, 0)])
def test_top_k(asked: int, given: int) -> None:
    """Off, or as asked; all tokens is off."""
    request = CompletionRequest(model="demo", prompt=["a"], top_k=asked)
    assert sampling_params(request, 300, logprobs=False, top_logprobs=0).top_k == given
    unknown = sampling_params(request, 0, logprobs=False, top_logprobs=0)
    assert unknown.top_k < 2**32


def test_top_p_zero_is_the_likeliest_token_alone() -> None:
    """Samplers read 0 as off, which is the opposite."""
    request = CompletionRequest(model="demo", prompt=["a"], top_p=0)
    assert 0 < sampling_params(request, 300, logprobs=False, top_logprobs=0).top_p < 1e-6


def test_seeds_wrap_around() -> None:
    """The engine's are unsigned."""
    request = CompletionRequest(model="demo", prompt=["a"], seed=-1)
    sampling = sampling_params(request, 300, logprobs=False, top_logprobs=0)
    assert sampling.seed == 2**64 - 1
    assert for_choice(sampling, 2).seed == 1


@pytest.mark.parametrize(
    ("prompt", "asked", "budget"),
    [(10, None, 20), (95, None, 5), (90, 10, 10), (99, None, 1), (10, 0, 0)],
)
def test_budgets(prompt: int, asked: int | None, budget: int) -> None:
    """What was asked, or what is left, up to the default."""
    assert token_budget(prompt, asked, 100, 20, "messages") == budget


@pytest.mark.parametrize(("prompt", "asked"), [(100, None), (91, 10), (500, 1)])
def test_too_long(prompt: int, asked: int | None) -> None:
    """Refused with the numbers."""
    with pytest.raises(ApiError, match=f"maximum context length is 100 tokens.*{prompt} in the"):
        token_budget(prompt, asked, 100, 20, "messages")


def test_an_unknown_context_is_no_limit() -> None:
    """The engine will say, if it is one."""
    assert token_budget(500, None, 0, 20, "prompt") == 20
    assert token_budget(500, 7, 0, 20, "prompt") == 7
