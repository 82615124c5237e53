"""Pydantic's complaints, in the words, codes and parameter names of OpenAI's API.

Owns the translation of the first problem of a request body. Pure functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from daemon.api.errors import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic_core import ErrorDetails

Body = TypeVar("Body", bound=BaseModel)

_TYPE_NAMES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_TAGGED_LISTS = {"messages", "content", "input", "output"}
"""Lists of discriminated unions: pydantic puts the tag behind the index."""


def parse_body(kind: type[Body], data: bytes) -> Body:
    """Read a request body.

    Raises:
        ApiError: 400 for the first thing that is wrong.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise to_api_error(error.errors()) from None


def parse_value(kind: type[Body], value: dict[str, Any]) -> Body:
    """As `parse_body`, from what was read already; ``value`` holds JSON types only."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise to_api_error(error.errors()) from None


def to_api_error(problems: Sequence[ErrorDetails]) -> ApiError:
    """The error object for the first of ``problems``; an unknown parameter comes last."""
    problem = min(problems, key=lambda item: item["type"] == "extra_forbidden")
    param = _path(problem["loc"])
    kind = problem["type"]
    if kind == "json_invalid":
        reason = problem.get("ctx", {}).get("error", "")
        return bad_request(f"We could not parse the JSON body of your request: {reason}.")
    if not param and kind in _TYPE_NAMES:
        return bad_request("The body of the request must be a JSON object.")
    if kind in _TYPE_NAMES:
        message = (
            f"Invalid type for '{param}': expected {_TYPE_NAMES[kind]}, "
            f"but got {_describe(problem['input'])} instead."
        )
        return bad_request(message, param, "invalid_type")
    if kind in _RULES:
        return _RULES[kind](param, problem)
    code = problem.get("ctx", {}).get("openai_code")
    if code:
        return bad_request(problem["msg"], param, code)
    return bad_request(f"Invalid '{param}': {problem['msg']}.", param, "invalid_value")


def _path(location: Sequence[int | str]) -> str:
    """``messages[0].content``, without the tags that pydantic adds."""
    path = ""
    parent = ""
    after_index = False
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
            after_index = True
            continue
        if after_index and parent in _TAGGED_LISTS:
            after_index = False
            continue
        after_index = False
        if step == "[key]":
            continue
        parent = step
        path += f".{step}" if path else step
    return path


def _describe(value: Any) -> str:
    names: dict[type[Any], str] = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal number",
        list: "an array",
        dict: "an object",
        type(None): "null",
    }
    return names.get(type(value), "something else")


def _missing(param: str, problem: ErrorDetails) -> ApiError:
    if problem["type"] == "union_tag_not_found":
        tag = problem.get("ctx", {}).get("discriminator", "")
        param = f"{param}.{tag}".replace("'", "")
    if param == "model":
        return bad_request("you must provide a model parameter", "model", "missing_model")
    message = f"Missing required parameter: '{param}'."
    return bad_request(message, param, "missing_required_parameter")


def _unknown(param: str, _problem: ErrorDetails) -> ApiError:
    return bad_request(f"Unknown parameter: '{param}'.", param, "unknown_parameter")


def _bound(param: str, problem: ErrorDetails) -> ApiError:
    context = problem.get("ctx", {})
    above = problem["type"].startswith("less")
    limit = context.get("le", context.get("lt", context.get("ge", context.get("gt"))))
    number = "decimal" if isinstance(limit, float) else "integer"
    sign = {"less_than_equal": "<=", "less_than": "<", "greater_than_equal": ">="}.get(
        problem["type"], ">"
    )
    side, name = ("above maximum", "above_max") if above else ("below minimum", "below_min")
    message = (
        f"Invalid '{param}': {number} {side} value. Expected a value {sign} {_plain(limit)}, "
        f"but got {problem['input']} instead."
    )
    return bad_request(message, param, f"{number}_{name}_value")


def _plain(limit: Any) -> str:
    return str(int(limit)) if limit == int(limit) else str(limit)


def _array_length(param: str, problem: ErrorDetails) -> ApiError:
    context = problem.get("ctx", {})
    count = context.get("actual_length")
    if problem["type"] == "too_long" and isinstance(problem["input"], dict):
        message = (
            f"Invalid '{param}': too many properties. Expected an object with at most "
            f"{context.get('max_length')} properties, but got an object with "
            f"{len(problem['input'])} properties instead."
        )
        return bad_request(message, param, "object_above_max_properties")
    if problem["type"] == "too_long":
        message = (
            f"Invalid '{param}': array too long. Expected an array with maximum length "
            f"{context.get('max_length')}, but got an array with length {count} instead."
        )
        return bad_request(message, param, "array_above_max_length")
    message = (
        f"Invalid '{param}': empty array. Expected an array with minimum length "
        f"{context.get('min_length')}, but got an empty array instead."
    )
    return bad_request(message, param, "empty_array")


def _string_length(param: str, problem: ErrorDetails) -> ApiError:
    context = problem.get("ctx", {})
    if problem["type"] == "string_too_long":
        message = (
            f"Invalid '{param}': string too long. Expected a string with maximum length "
            f"{context.get('max_length')}, but got a string with length "
            f"{len(problem['input'])} instead."
        )
        return bad_request(message, param, "string_above_max_length")
    message = f"Invalid '{param}': empty string. Expected a string with minimum length 1."
    return bad_request(message, param, "empty_string")


def _choice(param: str, problem: ErrorDetails) -> ApiError:
    context = problem.get("ctx", {})
    if problem["type"] == "union_tag_invalid":
        given, expected = repr(context.get("tag")), context.get("expected_tags", "")
        param = f"{param}.{context.get('discriminator', '')}".replace("'", "")
    else:
        given, expected = repr(problem["input"]), context.get("expected", "")
    expected = expected.replace(" or ", ", ")
    message = f"Invalid value: {given}. Supported values are: {expected}."
    return bad_request(message, param, "invalid_value")


_RULES: dict[str, Callable[[str, ErrorDetails], ApiError]] = {
    "missing": _missing,
    "union_tag_not_found": _missing,
    "extra_forbidden": _unknown,
    "less_than_equal": _bound,
    "less_than": _bound,
    "greater_than_equal": _bound,
    "greater_than": _bound,
    "too_long": _array_length,
    "too_short": _array_length,
    "string_too_long": _string_length,
    "string_too_short": _string_length,
    "literal_error": _choice,
    "union_tag_invalid": _choice,
}
