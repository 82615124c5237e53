"""What a chat request holds its answer to, as a grammar.

Owns which parameters make one, and the parameter that a refusal names. Pure; compiling a schema
takes milliseconds, so it is called in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.api.errors import ApiError, bad_request
from daemon.text.grammar import (
    CallableFunction,
    Calls,
    GrammarRefusal,
    Thinking,
    check_parameters,
    json_form,
    lark_form,
    regex_form,
    write_grammar,
)
from daemon.text.strict_schema import check_strict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from daemon.api.schemas.chat import ChatRequest, Function, ResponseFormat
    from daemon.text.grammar import Form
    from daemon.text.model import TextModel

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
NO_PARAMETERS: Mapping[str, Any] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


def is_constrained(request: ChatRequest) -> bool:
    """Whether the request asks for a certain form, of its text or of its calls."""
    choice = request.tool_choice.type if request.tool_choice else "auto"
    strict = any(tool.function.strict for tool in request.tools or ())
    return has_form(request) or choice in {"required", "function"} or (strict and choice == "auto")


def has_form(request: ChatRequest) -> bool:
    """Whether the visible text must have a form."""
    return request.response_format is not None and request.response_format.type != "text"


def must_call(request: ChatRequest) -> bool:
    """Whether an answer is calls only."""
    return request.tool_choice is not None and request.tool_choice.type in {"required", "function"}


def make_grammar(request: ChatRequest, text: TextModel, thinking: Thinking) -> str:
    """The grammar of the answer to a request that `is_constrained`.

    Raises:
        ApiError: 400, naming what can't be kept to.
    """
    if not text.can_constrain:
        raise bad_request(
            "This model's tokenizer does not spell its tokens as bytes: its answers can't be "
            "constrained.",
            "response_format" if has_form(request) else "tools",
            "unsupported_parameter",
        )
    form = None
    if request.response_format is not None and not must_call(request):
        form = _form(request.response_format)
    calls = _calls(request, text)
    try:
        return write_grammar(text.marks, text.mark_ids, thinking, form, calls)
    except GrammarRefusal as error:
        param = "tool_choice" if must_call(request) else "tools"
        raise _refused(f"Invalid '{param}': {error}.", param) from error


def _form(wanted: ResponseFormat) -> Form | None:
    try:
        if wanted.type == "json_object":
            return json_form(ANY_OBJECT)
        if wanted.json_schema is not None:
            schema = wanted.json_schema.schema_
            if schema is None:
                return json_form(ANY_OBJECT)
            if wanted.json_schema.strict:
                check_strict(schema)
            return json_form(schema)
        if wanted.grammar is not None:
            make = regex_form if wanted.grammar.syntax == "regex" else lark_form
            return make(wanted.grammar.definition)
    except GrammarRefusal as error:
        if wanted.json_schema is not None:
            what = f"Invalid schema for response_format '{wanted.json_schema.name}'"
        else:
            what = "Invalid grammar for response_format"
        raise _refused(f"{what}: {error}.", "response_format") from error
    return None


def _calls(request: ChatRequest, text: TextModel) -> Calls | None:
    choice = request.tool_choice
    if not request.tools or (choice is not None and choice.type == "none"):
        return None
    if text.tool_parser is None:
        if not must_call(request):
            return None
        raise _refused("This model has no format for tool calls.", "tool_choice")
    named = choice.function.name if choice is not None and choice.function else None
    functions = [
        _function(tool.function, index, loose=not must_call(request))
        for index, tool in enumerate(request.tools)
        if named is None or tool.function.name == named
    ]
    one = named is not None or request.parallel_tool_calls is False
    return Calls(text.tool_style, functions, must_call(request), one)


def _function(function: Function, index: int, *, loose: bool) -> CallableFunction:
    """``loose``: arguments may be any object, unless the function is strict."""
    if loose and not function.strict:
        return CallableFunction(function.name, ANY_OBJECT)
    try:
        if function.strict and function.parameters:
            check_strict(function.parameters)
        parameters = check_parameters(function.parameters or NO_PARAMETERS)
    except GrammarRefusal as error:
        raise bad_request(
            f"Invalid schema for function '{function.name}': {error}.",
            f"tools[{index}].function.parameters",
            "invalid_function_parameters",
        ) from error
    return CallableFunction(function.name, parameters)


def _refused(message: str, param: str) -> ApiError:
    return bad_request(message, param, "unsupported_parameter")
