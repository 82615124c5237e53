"""The requests that a chaos run repeats, and one streamed answer over plain HTTP.

Blocking; called on threads.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_TIMEOUT_S = 120.0
_GREEDY: dict[str, Any] = {"temperature": 0}


@dataclass
class Answer:
    """What one request brought."""

    text: str = ""
    finish_reason: str = ""
    tokens: int = 0
    """As the usage counts them."""
    logprobs: list[Any] = field(default_factory=list[Any])
    error: str = ""
    """Why it ended before its end; empty if it did not."""
    prompt_tokens: int = 0

    @property
    def content(self) -> tuple[Any, ...]:
        """All that must be the same in an undisturbed run."""
        return self.text, self.finish_reason, self.prompt_tokens, self.tokens, self.logprobs


_SHARED = "You are a careful assistant of a small library. " * 12
_SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 40},
        "pages": {"type": "integer", "minimum": 1, "maximum": 999},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
        "lent": {"type": "boolean"},
    },
    "required": ["title", "pages", "tags", "lent"],
    "additionalProperties": False,
}


def bodies(model: str) -> list[dict[str, Any]]:
    """Greedy and seeded, short and long, with stop sequences, penalties, log probabilities, JSON.

    Some are turns of one conversation: they begin alike, and the later brings the earlier answer.
    """
    # ignore_eos: a small model would end most answers before anything can happen to them.
    return [
        {"model": model, "stream": True, "stream_options": {"include_usage": True}, **rest}
        for rest in (*({"ignore_eos": True, **text} for text in _texts()), *_chats())
    ]


def name_of(body: dict[str, Any]) -> str:
    """A few words to know a request by."""
    text = body.get("prompt") or body["messages"][-1]["content"]
    return text[:30]


def _texts() -> list[dict[str, Any]]:
    stories = [
        ("Tell me something that nobody taught you.", {"max_tokens": 120, **_GREEDY}),
        ("Once upon a time", {"max_tokens": 90, "temperature": 0.8, "seed": 7}),
        ("Count from 3 to 12.", {"max_tokens": 60, "stop": ["9", "\\n\\n"], **_GREEDY}),
        ("What is 17 + 25? " * 40, {"max_tokens": 40, **_GREEDY}),
        ("The sea", {"max_tokens": 70, "temperature": 1.0, "seed": 11, "top_p": 0.9}),
        ("A list of words:", {"max_tokens": 50, "logprobs": 2, **_GREEDY}),
        ("Red, green,", {"max_tokens": 80, "temperature": 0.7, "seed": 3, "presence_penalty": 0.5}),
        ("Hello", {"max_tokens": 150, "temperature": 0.9, "seed": 5, "logprobs": 1}),
        ("Why is the sky blue?", {"max_tokens": 100, "ignore_eos": False, **_GREEDY}),
    ]
    return [{"prompt": prompt, **rest} for prompt, rest in stories]


def _chats() -> list[dict[str, Any]]:
    json_only = {"type": "json_schema", "json_schema": {"name": "book", "schema": _SCHEMA}}
    first = [
        {"role": "system", "content": _SHARED},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    second = [
        {"role": "assistant", "content": "The capital of France is Paris."},
        {"role": "user", "content": "And of Italy?"},
    ]
    book = [{"role": "user", "content": "Describe a book as JSON."}]
    seeded: dict[str, Any] = {"temperature": 0.9, "seed": 21}
    return [
        {"messages": first, "max_tokens": 60, **_GREEDY},
        {"messages": first + second, "max_tokens": 60, "logprobs": True, "top_logprobs": 2}
        | _GREEDY,
        {"messages": book, "max_tokens": 150, "response_format": json_only, **_GREEDY},
        {"messages": book, "max_tokens": 150, "response_format": json_only, **seeded},
        {"messages": first, "max_tokens": 120, "stop": ["Paris is"], "ignore_eos": True, **seeded},
    ]


def ask(
    port: int, body: dict[str, Any], on_event: Callable[[], None], host: str = "127.0.0.1"
) -> Answer:
    """Stream one answer; ``on_event`` is called for each piece of it."""
    answer = Answer()
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json"}
        path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            answer.error = f"HTTP {response.status}: {response.read(500).decode(errors='replace')}"
            return answer
        answer.error = "the stream ended without [DONE]"
        for line in response:
            if line.startswith(b"data:"):
                on_event()
                _take(answer, line[5:].strip())
    except (OSError, http.client.HTTPException, ValueError) as error:
        answer.error = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return answer


def _take(answer: Answer, data: bytes) -> None:
    if data == b"[DONE]":
        if answer.error.startswith("the stream ended"):
            answer.error = ""
        return
    chunk = json.loads(data)
    if "error" in chunk:
        answer.error = str(chunk["error"].get("message"))
    for choice in chunk.get("choices", ()):
        answer.text += choice.get("text") or choice.get("delta", {}).get("content") or ""
        answer.finish_reason = choice["finish_reason"] or answer.finish_reason
        if choice.get("logprobs"):
            answer.logprobs.append(choice["logprobs"])
    if chunk.get("usage"):
        answer.tokens = chunk["usage"]["completion_tokens"]
        answer.prompt_tokens = chunk["usage"].get("prompt_tokens", 0)
