"""The bodies of POST /v1/completions, /tokenize and /detokenize.

Owns types and ranges.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from daemon.api.schemas.base import SamplingFields, Strict, refusal

Prompt = str | list[int]
"""Text or token ids."""


def _prompts(value: Any) -> list[Prompt]:
    """A list of prompts out of text, texts, token ids, or lists of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(_is_token(item) for item in value):
            return [value]
        if all(isinstance(item, str) for item in value):
            return list(value)
        if all(isinstance(item, list) and item and all(map(_is_token, item)) for item in value):
            return list(value)
    raise refusal(
        "invalid_type",
        "Invalid type for 'prompt': expected a string, an array of strings, an array of token "
        "ids, or an array of arrays of token ids, none of them empty.",
    )


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


Prompts = Annotated[
    list[Any],
    Field(max_length=256),
    BeforeValidator(_prompts, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
]


class CompletionRequest(SamplingFields):
    """One completion request, maybe with several prompts."""

    prompt: Prompts
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None


class TokenizeRequest(Strict):
    """Text to token ids."""

    model: str | None = None
    prompt: str
    add_special_tokens: bool | None = None


class DetokenizeRequest(Strict):
    """Token ids to text."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0)]]
