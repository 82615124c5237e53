"""A responses request as the chat that it means.

Owns the mapping of items to messages and of parameters to those of chat. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from daemon.api.errors import ApiError, bad_request, unsupported
from daemon.api.schemas.chat import ChatRequest
from daemon.api.schemas.responses import InputCall, InputCallOutput, InputMessage
from daemon.api.validation import parse_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.api.schemas.responses import Item, ResponsesRequest

Message = dict[str, Any]
_THEIR_NAMES = (
    (r"\bmessages\b(\[\d+\][\w.]*)?", "input"),
    (r"\bresponse_format(\.json_schema)?", "text.format"),
    (r"(tools\[\d+\]|tool_choice)\.function", r"\1"),
)
REFUSED = (
    "background",
    "background_options",
    "conversation",
    "prompt",
    "max_tool_calls",
    "moderation",
    "context_management",
    "image",
    "access_programs",
)
"""Features of OpenAI's service around the model."""
LOGPROBS = "message.output_text.logprobs"


def check_responses(request: ResponsesRequest) -> None:
    """Refuse what this server lacks.

    Raises:
        ApiError: 400 naming the parameter.
    """
    for name in REFUSED:
        if getattr(request, name):
            raise unsupported(name, f"'{name}'")
    if request.truncation == "auto":
        raise unsupported("truncation", "Truncation 'auto'")


def to_messages(items: Sequence[Item]) -> list[Message]:
    """Input items as chat messages; calls of one turn are put into one message."""
    messages: list[Message] = []
    for item in items:
        if isinstance(item, InputMessage):
            messages.append({"role": item.role, "content": _text(item.content)})
        elif isinstance(item, InputCall):
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            function = {"name": item.name, "arguments": item.arguments}
            call = {"id": item.call_id, "type": "function", "function": function}
            messages[-1].setdefault("tool_calls", []).append(call)
        elif isinstance(item, InputCallOutput):
            output = _text(item.output)
            messages.append({"role": "tool", "tool_call_id": item.call_id, "content": output})
    return messages


def _text(content: Sequence[Any]) -> str:
    return "".join(getattr(part, "text", None) or getattr(part, "refusal", "") for part in content)


def to_chat(request: ResponsesRequest, messages: Sequence[Message]) -> ChatRequest:
    """The chat request with ``messages`` (earlier turns included)."""
    if not messages:
        raise bad_request("Invalid 'input': it holds no message.", "input", "empty_array")
    if request.instructions is not None:
        messages = [{"role": "system", "content": request.instructions}, *messages]
    body = {
        "model": request.model,
        "stream": request.stream,
        "messages": messages,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "max_completion_tokens": request.max_output_tokens,
        "logprobs": LOGPROBS in (request.include or ()),
        "top_logprobs": request.top_logprobs,
        "tools": [_tool(tool.model_dump(exclude_none=True)) for tool in request.tools or ()],
        "tool_choice": _choice(request),
        "response_format": _form(request),
        "parallel_tool_calls": request.parallel_tool_calls if request.tools else None,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "chat_template_kwargs": request.chat_template_kwargs,
    }
    return parse_value(ChatRequest, body)


def _choice(request: ResponsesRequest) -> dict[str, Any] | None:
    choice = request.tool_choice
    if choice is None or (not request.tools and choice.type in {"none", "auto"}):
        return None
    if choice.type != "function":
        return {"type": choice.type}
    return {"type": "function", "function": choice.name and {"name": choice.name}}


def _form(request: ResponsesRequest) -> dict[str, Any] | None:
    """`text.format`, which has no object of its own for a schema, as chat writes it."""
    if request.text is None or request.text.format is None:
        return None
    form = request.text.format.model_dump(by_alias=True, exclude_none=True)
    kind = form.pop("type")
    return {"type": kind, **({"json_schema": form} if kind == "json_schema" else form)}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    kind = tool.pop("type")
    return {"type": kind, "function": tool}


def in_own_words(error: ApiError) -> ApiError:
    """An error about the chat, with the names that the client used."""
    param, message = error.param, error.message.replace("the messages", "the input")
    message = message.replace("for response_format", "for text.format")
    for ours, theirs in _THEIR_NAMES:
        param = param and re.sub(ours, theirs, param)
        message = re.sub(f"'{ours}", f"'{theirs}", message)
    return ApiError(error.status, message, kind=error.kind, param=param, code=error.code)
