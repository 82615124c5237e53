"""One conversation to answer, and the judge of its answer."""

import json
from dataclasses import dataclass
from typing import Any

from daemon.demo.tool_talk import Json
from daemon.demo.wording import normalised


@dataclass(frozen=True)
class Case:
    """One conversation that ends with a question, and how to judge the answer."""

    kind: str
    messages: list[Json]
    tools: list[Json] | None
    expected: str
    """The reference answer; empty where a tool call is expected."""
    must: tuple[str, ...] = ()
    ends: bool = False
    style: str = "plain"
    call: Json | None = None

    def check(self, answer_text: str | None, tool_calls: list[Any] | None = None) -> bool:
        """Judge an answer; a think block at its start is not judged.

        `tool_calls` may be OpenAI's objects, their dicts, or plain `{"name", "arguments"}`.
        """
        calls = [_plain_call(call) for call in tool_calls or []]
        if self.call is not None:
            return len(calls) == 1 and _same_call(calls[0], self.call)
        text = (answer_text or "").split("</think>")[-1].strip()
        return not calls and self._says(text) and self._keeps_style(text)

    def _says(self, text: str) -> bool:
        words = f" {normalised(text)} "
        phrases = [f" {normalised(phrase)} " for phrase in self.must]
        short = len(words.split()) <= len(normalised(self.expected).split()) + 4
        ended = not self.ends or words.endswith(phrases[-1])
        return short and ended and all(phrase in words for phrase in phrases)

    def _keeps_style(self, text: str) -> bool:
        if self.style == "brief":
            return len(text.split()) <= len(self.expected.split())
        changed = {"upper": str.upper, "lower": str.lower}.get(self.style)
        return changed is None or changed(text) == text


def _plain_call(call: Any) -> Json:
    function = call.get("function", call) if isinstance(call, dict) else call.function
    if not isinstance(function, dict):
        function = {"name": function.name, "arguments": function.arguments}
    arguments = function["arguments"]
    parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    return {"name": function["name"], "arguments": parsed}


def _same_call(call: Json, wanted: Json) -> bool:
    def folded(arguments: Json) -> dict[str, str]:
        return {slot: str(value).lower() for slot, value in arguments.items()}

    same_name = call["name"] == wanted["name"]
    return same_name and folded(call["arguments"]) == folded(wanted["arguments"])
