"""Chat answers as OpenAI writes them: one object, or a stream of chunks.

Owns the JSON of both. The chunks are put together by hand: one is written for every token.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from daemon.api.logprobs import chat_logprobs
from daemon.api.stream import DONE, error_event
from daemon.api.usage import usage_body
from daemon.text.call_pieces import CallPiece

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.api.choice import ShownToken, Update
    from daemon.api.errors import ApiError
    from daemon.api.generation import Usage
    from daemon.text.model import TextModel
    from daemon.text.tool_calls import ToolCall

_quoted: Callable[[str], str] = encode_basestring
"""A string as JSON, in C."""


def dump(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class ChatHead:
    """What all parts of one answer say alike."""

    answer_id: str
    created: int
    model: str
    fingerprint: str

    @staticmethod
    def new(model: str, fingerprint: str) -> ChatHead:
        """For an answer that begins now."""
        answer_id = f"chatcmpl-{secrets.token_hex(12)}"
        return ChatHead(answer_id, int(time.time()), model, fingerprint)

    def fields(self, kind: str) -> dict[str, Any]:
        """The first members of the object."""
        return {
            "id": self.answer_id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": self.fingerprint,
        }


class WholeChoice:
    """Collects the updates of one choice into a message."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._tokens: list[ShownToken] = []
        self._finish_reason = ""

    def add(self, update: Update) -> None:
        """Take in one update."""
        self._content.append(update.delta.content)
        self._reasoning.append(update.delta.reasoning)
        self._calls.extend(update.delta.calls)
        self._tokens.extend(update.tokens)
        self._finish_reason = update.finish_reason or self._finish_reason

    def body(self, text: TextModel, top_logprobs: int | None) -> dict[str, Any]:
        """The choice; ``top_logprobs`` is None where no logprobs were asked for."""
        content = "".join(self._content)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self._calls and not content else content,
            "refusal": None,
            "annotations": [],
        }
        reasoning = "".join(self._reasoning)
        if reasoning:
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = [_call_body(call) for call in self._calls]
        logprobs = None
        if top_logprobs is not None:
            logprobs = chat_logprobs(text, self._tokens, top_logprobs)
        return {
            "index": self._index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": self._finish_reason,
        }


def _call_body(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


class ChatStream:
    """Writes the chunks of one streamed answer."""

    def __init__(
        self,
        head: ChatHead,
        text: TextModel,
        n: int,
        *,
        top_logprobs: int | None,
        usage: Callable[[], Usage] | None,
    ) -> None:
        """``usage``: where to get the counts from, if the client wants them."""
        fields = dump(head.fields("chat.completion.chunk"))[:-1]
        self._start = f'data: {fields},"choices":['
        self._end = '],"usage":null}\n\n' if usage else "]}\n\n"
        self._text = text
        self._top_logprobs = top_logprobs
        self._usage = usage
        self._n = n
        self._calls = [0] * n

    def opening(self) -> bytes:
        """One chunk with the role for every choice."""
        delta = '{"role":"assistant","content":"","refusal":null}'
        return "".join(self._chunk(i, delta) for i in range(self._n)).encode()

    def update(self, update: Update) -> bytes:
        """Chunks for one update; the finish reason comes in one of its own."""
        delta = update.delta
        index = update.index
        out = ""
        if delta.reasoning:
            out = self._chunk(index, f'{{"reasoning_content":{_quoted(delta.reasoning)}}}')
        if delta.content or update.tokens:
            logprobs = "null"
            if self._top_logprobs is not None:
                logprobs = dump(chat_logprobs(self._text, update.tokens, self._top_logprobs))
            out += self._chunk(index, f'{{"content":{_quoted(delta.content)}}}', logprobs)
        for call in delta.calls:
            out += self._call_chunks(index, call)
        for piece in delta.pieces:
            out += self._piece_chunks(index, piece)
        if update.finish_reason:
            out += self._chunk(index, "{}", finish_reason=f'"{update.finish_reason}"')
        return out.encode()

    def closing(self) -> bytes:
        """The counts, in a chunk without choices, if wanted; then the end mark."""
        if self._usage is None:
            return DONE
        usage = dump(usage_body(self._usage()))
        return f'{self._start}],"usage":{usage}}}\n\n'.encode() + DONE

    def failure(self, error: ApiError) -> bytes:
        """See `StreamWriter`; no end mark follows."""
        return error_event(error)

    def _chunk(
        self, index: int, delta: str, logprobs: str = "null", finish_reason: str = "null"
    ) -> str:
        return (
            f'{self._start}{{"index":{index},"delta":{delta},"logprobs":{logprobs},'
            f'"finish_reason":{finish_reason}}}{self._end}'
        )

    def _call_chunks(self, index: int, call: ToolCall) -> str:
        piece = CallPiece(call.call_id, call.name, call.arguments, opens=True)
        return self._piece_chunks(index, piece)

    def _piece_chunks(self, index: int, piece: CallPiece) -> str:
        """Name first, then the arguments, as OpenAI does."""
        out = ""
        if piece.opens:
            self._calls[index] += 1
            function = {"name": piece.name, "arguments": ""}
            out = self._call_chunk(
                index, {"id": piece.call_id, "type": "function", "function": function}
            )
        if piece.arguments:
            out += self._call_chunk(index, {"function": {"arguments": piece.arguments}})
        return out

    def _call_chunk(self, index: int, part: dict[str, Any]) -> str:
        """Of the call that was opened last."""
        place = {"index": self._calls[index] - 1}
        return self._chunk(index, dump({"tool_calls": [place | part]}))
