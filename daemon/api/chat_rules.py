"""What a chat request must satisfy beyond the types and ranges of single parameters.

Owns refusals of features that this server lacks, each naming the parameter. Pure functions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from daemon.api.constraints import is_constrained
from daemon.api.errors import bad_request, unsupported
from daemon.api.turns import check_turns

if TYPE_CHECKING:
    from daemon.api.schemas.chat import ChatRequest


def check_chat(request: ChatRequest) -> None:
    """Check parameters against each other.

    Raises:
        ApiError: 400 naming the parameter.
    """
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise bad_request(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    if request.top_logprobs is not None and not request.logprobs:
        raise bad_request(
            "'top_logprobs' is only allowed when 'logprobs' is enabled.", "top_logprobs"
        )
    if request.stream_options is not None and not request.stream:
        raise bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    check_shape(request)
    _check_unsupported(request)


def check_shape(request: ChatRequest) -> None:
    """Check messages, and what the answer must be: which calls, which form; raises `ApiError`."""
    check_turns(request.messages)
    _check_functions(request)
    _check_tools(request)
    _check_form(request)


def _check_functions(request: ChatRequest) -> None:
    for place, tool in enumerate(request.tools or ()):
        kind = (tool.function.parameters or {}).get("type", "object")
        if kind != "object":
            raise bad_request(
                f"Invalid schema for function '{tool.function.name}': schema must be a JSON Schema "
                f"of 'type: \"object\"', got 'type: {json.dumps(kind)}'.",
                f"tools[{place}].function.parameters",
                "invalid_function_parameters",
            )


def _check_tools(request: ChatRequest) -> None:
    choice, tools = request.tool_choice, request.tools or []
    if request.parallel_tool_calls is not None and not tools:
        raise bad_request(
            "'parallel_tool_calls' is only allowed when 'tools' are specified.",
            "parallel_tool_calls",
        )
    if choice is None:
        return
    if choice.type != "none" and not tools:
        raise bad_request(
            "'tool_choice' is only allowed when 'tools' are specified.", "tool_choice"
        )
    if choice.type == "function":
        if choice.function is None:
            raise bad_request(
                "Missing required parameter: 'tool_choice.function'.",
                "tool_choice.function",
                "missing_required_parameter",
            )
        if choice.function.name not in {tool.function.name for tool in tools}:
            raise bad_request(
                f"Tool choice '{choice.function.name}' not found in 'tools' parameter.",
                "tool_choice",
            )


def _check_form(request: ChatRequest) -> None:
    wanted = request.response_format
    for kind in ("json_schema", "grammar"):
        if wanted is not None and wanted.type == kind and getattr(wanted, kind) is None:
            raise bad_request(
                f"Missing required parameter: 'response_format.{kind}'.",
                f"response_format.{kind}",
                "missing_required_parameter",
            )
    if request.ignore_eos and is_constrained(request):
        raise bad_request(
            "'ignore_eos' is not allowed where the answer must have a form.", "ignore_eos"
        )


def _check_unsupported(request: ChatRequest) -> None:
    if "audio" in (request.modalities or ()) or request.audio is not None:
        raise unsupported("modalities", "Audio")
    if request.web_search_options is not None:
        raise unsupported("web_search_options", "Web search")
    if request.moderation is not None:
        raise unsupported("moderation", "Moderation")
    if request.functions or request.function_call is not None:
        name = "functions" if request.functions else "function_call"
        raise unsupported(name, f"The deprecated '{name}' (use 'tools')")
