"""Request parameters to what the engine understands: sampling, token budgets, stop ids.

Owns the defaults (OpenAI's, not greedy) and the rule of seeds: choice i of a request with seed s
is drawn with seed s + i, so each choice can be had again by itself.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, TypeVar

from daemon.api.errors import bad_request
from daemon.messages import SamplingParams

if TYPE_CHECKING:
    from daemon.api.schemas.base import SamplingFields

SEEDS = 2**64
LEAST_TOP_P = 1e-9
"""The likeliest token alone; 0 itself would be read as off."""
MAX_TOP_K = 2**31
Number = TypeVar("Number", int, float)


def sampling_params(
    request: SamplingFields, vocab_size: int, *, logprobs: bool, top_logprobs: int
) -> SamplingParams:
    """Parameters of the first choice.

    Raises:
        ApiError: 400, a bias for a token that the model does not have.
    """
    seed = secrets.randbits(63) if request.seed is None else request.seed
    return SamplingParams(
        temperature=_or(request.temperature, 1.0),
        top_p=max(LEAST_TOP_P, _or(request.top_p, 1.0)),
        top_k=_top_k(_or(request.top_k, 0), vocab_size),
        min_p=_or(request.min_p, 0.0),
        seed=seed % SEEDS,
        presence_penalty=_or(request.presence_penalty, 0.0),
        frequency_penalty=_or(request.frequency_penalty, 0.0),
        repetition_penalty=_or(request.repetition_penalty, 1.0),
        logit_bias=_logit_bias(request.logit_bias or {}, vocab_size),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
    )


def _top_k(asked: int, vocab_size: int) -> int:
    """0 where nothing would be left out."""
    return 0 if asked < 0 or asked >= (vocab_size or MAX_TOP_K) else asked


def for_choice(sampling: SamplingParams, index: int) -> SamplingParams:
    """Parameters of another choice of the same request."""
    return dataclasses.replace(sampling, seed=(sampling.seed + index) % SEEDS)


def token_budget(
    prompt_tokens: int, asked: int | None, max_context: int, default: int, param: str
) -> int:
    """Tokens that the answer may have.

    Args:
        prompt_tokens: length of the prompt.
        asked: what the request allows; None leaves it to us.
        max_context: tokens of prompt and answer together; 0 is unknown.
        default: upper bound where the request names none.
        param: name of the prompt's parameter, for the error.

    Raises:
        ApiError: 400 `context_length_exceeded`, with the numbers.
    """
    if not max_context:
        return default if asked is None else asked
    wanted = 1 if asked is None else asked
    if prompt_tokens + wanted > max_context:
        completion = "" if asked is None else f" and {asked} for the completion"
        raise bad_request(
            f"This model's maximum context length is {max_context} tokens. However, you requested "
            f"{prompt_tokens + (asked or 0)} tokens ({prompt_tokens} in the {param}{completion}). "
            f"Please reduce the length of the {param}{' or completion' if asked else ''}.",
            param,
            "context_length_exceeded",
        )
    return min(default, max_context - prompt_tokens) if asked is None else asked


def _or(value: Number | None, default: Number) -> Number:
    return default if value is None else value


def _logit_bias(biases: dict[str, float], vocab_size: int) -> tuple[tuple[int, float], ...]:
    pairs: list[tuple[int, float]] = []
    for key, bias in biases.items():
        if not (key.isascii() and key.isdigit()) or (vocab_size and int(key) >= vocab_size):
            raise bad_request(
                f"Invalid key in 'logit_bias': {key!r}. Expected a token id below {vocab_size}.",
                "logit_bias",
                "invalid_value",
            )
        pairs.append((int(key), bias))
    return tuple(pairs)
