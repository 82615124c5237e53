"""Completions as OpenAI writes them: one object, or a stream of chunks.

Owns the JSON of both, echo included.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from daemon.api.chat_format import dump
from daemon.api.logprobs import completion_logprobs, prompt_logprobs
from daemon.api.stream import DONE, error_event
from daemon.api.usage import usage_body

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.api.choice import ShownToken, Update
    from daemon.api.errors import ApiError
    from daemon.api.generation import Usage
    from daemon.messages import TokenOut
    from daemon.text.model import TextModel

_quoted: Callable[[str], str] = encode_basestring


@dataclass(frozen=True, slots=True)
class CompletionHead:
    """What all parts of one answer say alike."""

    answer_id: str
    created: int
    model: str
    fingerprint: str

    @staticmethod
    def new(model: str, fingerprint: str) -> CompletionHead:
        """For an answer that begins now."""
        return CompletionHead(f"cmpl-{secrets.token_hex(12)}", int(time.time()), model, fingerprint)

    def fields(self) -> dict[str, Any]:
        """The first members of the object."""
        return {
            "id": self.answer_id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


@dataclass(frozen=True, slots=True)
class Echo:
    """The prompt, told back before a choice."""

    text: str = ""
    """Empty without `echo`."""
    prompt_ids: tuple[int, ...] = ()
    """Only if their logprobs are wanted, which come with the first update."""


class WholeCompletion:
    """Collects the updates of one choice."""

    def __init__(self, index: int, echo: Echo) -> None:
        self._index = index
        self._echo = echo
        self._pieces = [echo.text]
        self._prompt: tuple[TokenOut, ...] | None = None
        self._tokens: list[ShownToken] = []
        self._finish_reason = "length"

    def add(self, update: Update) -> None:
        """Take in one update."""
        self._pieces.append(update.delta.content)
        self._tokens.extend(update.tokens)
        self._prompt = update.prompt if self._prompt is None else self._prompt
        self._finish_reason = update.finish_reason or self._finish_reason

    def body(self, text: TextModel, top_logprobs: int | None) -> dict[str, Any]:
        """The choice; ``top_logprobs`` is None where no logprobs were asked for."""
        logprobs = None
        if top_logprobs is not None:
            logprobs = completion_logprobs(text, self._tokens, top_logprobs, len(self._echo.text))
            if self._prompt is not None:
                before = prompt_logprobs(text, self._echo.prompt_ids, self._prompt, top_logprobs)
                logprobs = {name: before[name] + logprobs[name] for name in logprobs}
        return {
            "text": "".join(self._pieces),
            "index": self._index,
            "logprobs": logprobs,
            "finish_reason": self._finish_reason,
        }


class CompletionStream:
    """Writes the chunks of one streamed completion."""

    def __init__(
        self,
        head: CompletionHead,
        text: TextModel,
        echoes: Sequence[Echo],
        *,
        top_logprobs: int | None,
        usage: Callable[[], Usage] | None,
    ) -> None:
        """``usage``: where to get the counts from, if the client wants them."""
        self._start = f'data: {dump(head.fields())[:-1]},"choices":['
        self._end = '],"usage":null}\n\n' if usage else "]}\n\n"
        self._echoes = echoes
        self._usage = usage
        self._text = text
        self._top_logprobs = top_logprobs

    def opening(self) -> bytes:
        """The prompts, where they are echoed; those whose logprobs are wanted come later."""
        chunks = [
            self._chunk(i, echo.text)
            for i, echo in enumerate(self._echoes)
            if echo.text and not echo.prompt_ids
        ]
        return "".join(chunks).encode()

    def update(self, update: Update) -> bytes:
        """A chunk for one update; the last one holds the finish reason."""
        if update.prompt is not None:
            return self._prompt_chunk(update.index, update.prompt)
        logprobs = "null"
        if self._top_logprobs is not None and update.tokens:
            offset = len(self._echoes[update.index].text)
            logprobs = dump(
                completion_logprobs(self._text, update.tokens, self._top_logprobs, offset)
            )
        reason = f'"{update.finish_reason}"' if update.finish_reason else "null"
        return self._chunk(update.index, update.delta.content, logprobs, reason).encode()

    def closing(self) -> bytes:
        """The counts, in a chunk without choices, if wanted; then the end mark."""
        if self._usage is None:
            return DONE
        return f'{self._start}],"usage":{dump(usage_body(self._usage()))}}}\n\n'.encode() + DONE

    def failure(self, error: ApiError) -> bytes:
        """See `StreamWriter`; no end mark follows."""
        return error_event(error)

    def _prompt_chunk(self, index: int, scored: tuple[TokenOut, ...]) -> bytes:
        echo = self._echoes[index]
        logprobs = prompt_logprobs(self._text, echo.prompt_ids, scored, self._top_logprobs or 0)
        return self._chunk(index, echo.text, dump(logprobs)).encode()

    def _chunk(self, index: int, text: str, logprobs: str = "null", reason: str = "null") -> str:
        return (
            f'{self._start}{{"text":{_quoted(text)},"index":{index},"logprobs":{logprobs},'
            f'"finish_reason":{reason}}}{self._end}'
        )
