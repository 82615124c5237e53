"""The response object, and a response's stream of events.

Owns their JSON and the sequence numbers.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from daemon.api.chat_format import dump

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.api.choice import Update
    from daemon.api.errors import ApiError
    from daemon.api.generation import Usage
    from daemon.api.responses_output import ResponseOutput
    from daemon.api.schemas.responses import ResponsesRequest


class ResponseBody:
    """The response object as it is at any time."""

    def __init__(self, request: ResponsesRequest, model: str, output: ResponseOutput) -> None:
        self.response_id = f"resp_{secrets.token_hex(24)}"
        self.output = output
        self._created_at = int(time.time())
        self._echoed = _echoed(request, model)

    def now(
        self, status: str, usage: Usage | None = None, error: ApiError | None = None
    ) -> dict[str, Any]:
        """The object in ``status``."""
        ended = status in {"completed", "incomplete"}
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "background": False,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": error and {"code": "server_error", "message": error.message},
            "incomplete_details": (
                {"reason": "max_output_tokens"} if status == "incomplete" else None
            ),
            **self._echoed,
            "output": self.output.items if ended else [],
            "usage": usage and usage_body(usage),
        }

    def ended(self, usage: Usage) -> dict[str, Any]:
        """The object at the end of a generation."""
        cut = self.output.finish_reason == "length"
        return self.now("incomplete" if cut else "completed", usage)


def _echoed(request: ResponsesRequest, model: str) -> dict[str, Any]:
    """What the client asked for, defaults filled in."""
    choice = request.tool_choice
    chosen = choice.model_dump(exclude_none=True) if choice and choice.name else None
    chosen = chosen or (choice.type if choice else "auto")
    form: dict[str, Any] = {"type": "text"}
    if request.text and request.text.format:
        form = request.text.format.model_dump(by_alias=True, exclude_none=True)
    effort = request.reasoning.effort if request.reasoning else None
    tools = [tool.model_dump() | {"strict": bool(tool.strict)} for tool in request.tools or ()]
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "model": model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {"effort": effort, "summary": None},
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": form, "verbosity": "medium"},
        "tool_choice": chosen,
        "tools": tools,
        "top_logprobs": request.top_logprobs or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "user": request.user,
        "metadata": request.metadata or {},
    }


def usage_body(usage: Usage) -> dict[str, Any]:
    """Token counts, by the names of this API."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


class ResponseStream:
    """Writes the events of one response; see `StreamWriter`."""

    def __init__(
        self,
        body: ResponseBody,
        usage: Callable[[], Usage],
        keep: Callable[[dict[str, Any]], None],
    ) -> None:
        """``keep`` is called with the response when it is whole."""
        self._body = body
        self._usage = usage
        self._keep = keep
        self._number = 0

    def opening(self) -> bytes:
        """Created, and in progress."""
        response = self._body.now("in_progress")
        kinds = ("response.created", "response.in_progress")
        return b"".join(self._event({"type": kind, "response": response}) for kind in kinds)

    def update(self, update: Update) -> bytes:
        """Events for one update."""
        return b"".join(self._event(event) for event in self._body.output.take(update))

    def closing(self) -> bytes:
        """The whole response."""
        response = self._body.ended(self._usage())
        self._keep(response)
        return self._event({"type": f"response.{response['status']}", "response": response})

    def failure(self, error: ApiError) -> bytes:
        """Why it can't go on, and that it has failed."""
        told = {"type": "error", "code": error.code, "message": error.message}
        response = self._body.now("failed", error=error)
        return self._event(told | {"param": error.param}) + self._event(
            {"type": "response.failed", "response": response}
        )

    def _event(self, event: dict[str, Any]) -> bytes:
        event["sequence_number"] = self._number
        self._number += 1
        return f"event: {event['type']}\ndata: {dump(event)}\n\n".encode()
