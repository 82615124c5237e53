"""Log probabilities as OpenAI reports them, for chat and (another shape) for completions.

Owns the two shapes. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.messages import TokenOut
    from daemon.text.model import TextModel

LOWEST = -9999.0
"""Stands for minus infinity, which JSON does not have."""


def chat_logprobs(
    text: TextModel, tokens: Iterable[TokenOut], top: int
) -> dict[str, list[dict[str, Any]] | None]:
    """The `logprobs` of a chat choice."""
    content = [
        {
            **_entry(text, token.token, token.logprob),
            "top_logprobs": [_entry(text, other, value) for other, value in token.top[:top]],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(text: TextModel, token: int, logprob: float) -> dict[str, Any]:
    return {
        "token": text.token_text(token),
        "logprob": max(logprob, LOWEST),
        "bytes": text.token_bytes(token),
    }


class CompletionLogprobs:
    """The `logprobs` of a completion choice; keeps the offset from one piece to the next."""

    def __init__(self, text: TextModel, top: int, offset: int = 0) -> None:
        self._text = text
        self._top = top
        self._offset = offset

    def take(self, tokens: Iterable[TokenOut]) -> dict[str, Any]:
        """Four lists with one item per token."""
        body: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for token in tokens:
            name = self._text.token_text(token.token)
            body["tokens"].append(name)
            body["token_logprobs"].append(max(token.logprob, LOWEST))
            body["top_logprobs"].append(
                {self._text.token_text(t): max(v, LOWEST) for t, v in token.top[: self._top]}
            )
            body["text_offset"].append(self._offset)
            self._offset += len(name)
        return body
