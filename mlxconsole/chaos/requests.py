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

    @property
    def content(self) -> tuple[Any, ...]:
        """All that must be the same in an undisturbed run."""
        return self.text, self.finish_reason, self.tokens, self.logprobs


def bodies(model: str) -> list[dict[str, Any]]:
    """Greedy and seeded, short and long, with stop sequences, penalties and log probabilities."""
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
    # ignore_eos: a small model would end most answers before anything can happen to them.
    always = {"stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True}
    return [{"model": model, "prompt": prompt, **always, **rest} for prompt, rest in stories]


def ask(
    port: int, body: dict[str, Any], on_event: Callable[[], None], host: str = "127.0.0.1"
) -> Answer:
    """Stream one answer; ``on_event`` is called for each piece of it."""
    answer = Answer()
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
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
        answer.text += choice["text"]
        answer.finish_reason = choice["finish_reason"] or answer.finish_reason
        if choice.get("logprobs"):
            answer.logprobs.append(choice["logprobs"])
    if chunk.get("usage"):
        answer.tokens = chunk["usage"]["completion_tokens"]
