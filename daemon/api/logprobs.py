"""Log probabilities as OpenAI reports them, for chat and (another shape) for completions.

Owns the two shapes. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from daemon.api.choice import ShownToken
    from daemon.messages import TokenOut
    from daemon.text.model import TextModel

LOWEST = -9999.0
"""Stands for minus infinity, which JSON does not have."""


def chat_logprobs(
    text: TextModel, tokens: Iterable[ShownToken], top: int
) -> dict[str, list[dict[str, Any]] | None]:
    """The `logprobs` of a chat choice."""
    content = [
        {
            **_entry(text, token.token, token.logprob),
            "top_logprobs": [_entry(text, other, value) for other, value in token.top[:top]],
        }
        for _, token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(text: TextModel, token: int, logprob: float) -> dict[str, Any]:
    return {
        "token": text.token_text(token),
        "logprob": max(logprob, LOWEST),
        "bytes": text.token_bytes(token),
    }


def completion_logprobs(
    text: TextModel, tokens: Iterable[ShownToken], top: int, offset: int
) -> dict[str, Any]:
    """The `logprobs` of a completion choice: four lists with one item per token.

    ``offset`` is the length of what precedes the content, such as an echoed prompt.
    """
    body = _no_tokens()
    for start, token in tokens:
        _append(body, text, token, top, offset + start)
    return body


def prompt_logprobs(
    text: TextModel, prompt_ids: Sequence[int], scored: Sequence[TokenOut], top: int
) -> dict[str, Any]:
    """The `logprobs` of an echoed prompt; ``scored`` are its tokens but the first."""
    body = _no_tokens()
    starts = text.offsets(prompt_ids)
    # Nothing comes before the first token: it has no probability.
    body["tokens"].append(text.token_text(prompt_ids[0]))
    body["token_logprobs"].append(None)
    body["top_logprobs"].append(None)
    body["text_offset"].append(starts[0])
    for start, token in zip(starts[1:], scored, strict=False):
        _append(body, text, token, top, start)
    return body


def _no_tokens() -> dict[str, list[Any]]:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}


def _append(
    body: dict[str, list[Any]], text: TextModel, token: TokenOut, top: int, start: int
) -> None:
    name, logprob = text.token_text(token.token), max(token.logprob, LOWEST)
    likeliest = {text.token_text(t): max(v, LOWEST) for t, v in token.top[:top]}
    body["tokens"].append(name)
    body["token_logprobs"].append(logprob)
    # The chosen token is always among them, as OpenAI has it.
    body["top_logprobs"].append({name: logprob} | likeliest)
    body["text_offset"].append(start)
