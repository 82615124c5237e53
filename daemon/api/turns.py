"""Which message may follow which: tool answers belong to calls, and calls want answers.

Owns OpenAI's rules about the order of messages. Pure functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.api.errors import bad_request
from daemon.api.schemas.chat import AssistantMessage, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.api.errors import ApiError
    from daemon.api.schemas.chat import Message


def check_turns(messages: Sequence[Message]) -> None:
    """Check that calls and their answers fit together.

    Raises:
        ApiError: 400 naming the message.
    """
    open_calls: dict[str, None] = {}
    after_calls = False
    for place, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            if not after_calls:
                raise _misplaced(
                    place,
                    "messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'",
                )
            open_calls.pop(message.tool_call_id, None)
            continue
        _check_answered(place, open_calls)
        after_calls = isinstance(message, AssistantMessage) and bool(message.tool_calls)
        if isinstance(message, AssistantMessage):
            open_calls = {call.id: None for call in message.tool_calls or ()}
            _check_says_something(place, message)
    _check_answered(len(messages), open_calls)


def _check_answered(place: int, open_calls: dict[str, None]) -> None:
    if open_calls:
        raise _misplaced(
            place - 1,
            "an assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'; these had no response: " + ", ".join(open_calls),
        )


def _check_says_something(place: int, message: AssistantMessage) -> None:
    said = (message.content, message.refusal, message.reasoning_content, message.tool_calls)
    if all(part is None for part in said):
        param = f"messages[{place}].content"
        raise bad_request(
            f"Invalid value for '{param}': an assistant message needs content or tool calls.",
            param,
            "invalid_type",
        )


def _misplaced(place: int, rule: str) -> ApiError:
    return bad_request(f"Invalid parameter: {rule}.", f"messages[{place}].role", "invalid_value")
