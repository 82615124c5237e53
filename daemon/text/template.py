"""Chat messages to a prompt, through the model's own chat template.

Owns what templates expect (plain text, arguments as objects) as against what the API accepts.
Knows no HTTP.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class TemplateRefusal(ValueError):
    """The model's chat template can't render these messages; the text is the template's own."""


@dataclass(frozen=True, slots=True)
class RenderedChat:
    """A prompt, and whether it leaves the model in the middle of thinking."""

    text: str
    in_reasoning: bool


def render(
    apply: Callable[..., str],
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    options: Mapping[str, Any],
    think_start: str,
) -> RenderedChat:
    """Render with ``apply`` (a tokenizer's `apply_chat_template`).

    Raises:
        TemplateRefusal: the template raised.
    """
    plain = [_plain(message) for message in messages]
    try:
        text = apply(
            plain, tools=tools or None, add_generation_prompt=True, tokenize=False, **options
        )
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise TemplateRefusal(str(error) or type(error).__name__) from error
    return RenderedChat(text, bool(think_start) and text.rstrip().endswith(think_start))


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as templates know it: `system` for developer, text content, parsed arguments."""
    plain = {key: value for key, value in message.items() if value is not None}
    if plain["role"] == "developer":
        plain["role"] = "system"
    content = plain.get("content", "")
    if not isinstance(content, str):
        content = "".join(part.get("text") or part.get("refusal") or "" for part in content)
    plain["content"] = content
    calls = plain.get("tool_calls")
    if calls:
        plain["tool_calls"] = [_parsed_call(call) for call in calls]
    return plain


def _parsed_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call["function"])
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:  # what an earlier answer wrote is history, even if it does not parse
        return {**call, "function": function}
    if isinstance(arguments, dict):
        function["arguments"] = arguments
    return {**call, "function": function}
