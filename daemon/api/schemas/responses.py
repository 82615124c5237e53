"""The body of POST /v1/responses.

Owns types and ranges; `responses_input` turns it into a chat.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from daemon.api.schemas.base import (
    SEED_LIMIT,
    Effort,
    Fraction,
    FunctionName,
    Lenient,
    Metadata,
    NonEmpty,
    Strict,
    word_as_choice,
)
from daemon.api.schemas.content import RefusalPart, text_or_parts


class InputText(Lenient):
    """A piece of text, said by anybody."""

    type: Literal["input_text", "output_text", "text"]
    text: str


InputContent = Annotated[
    list[Annotated[InputText | RefusalPart, Field(discriminator="type")]],
    text_or_parts("input_text", list[InputText | RefusalPart]),
]


class InputMessage(Lenient):
    """A message; an earlier answer comes back in the same form."""

    type: Literal["message"] = "message"
    role: Literal["user", "system", "developer", "assistant"]
    content: InputContent


class InputCall(Lenient):
    """A call that an earlier answer made."""

    type: Literal["function_call"]
    call_id: str
    name: NonEmpty
    arguments: str


class InputCallOutput(Lenient):
    """What a function returned."""

    type: Literal["function_call_output"]
    call_id: str
    output: InputContent


class InputReasoning(Lenient):
    """Earlier thinking; not shown to the model again."""

    type: Literal["reasoning"]


def _items(value: Any) -> Any:
    """Text alone is a user's message; a message may leave its type out."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if isinstance(value, list):
        return [
            {"type": "message", **item} if isinstance(item, dict) and "role" in item else item
            for item in value
        ]
    return value


Item = InputMessage | InputCall | InputCallOutput | InputReasoning
Items = Annotated[
    list[Annotated[Item, Field(discriminator="type")]],
    Field(min_length=1),
    BeforeValidator(_items, json_schema_input_type=str | list[Item]),
]


class ResponseFunction(Strict):
    """A function that the model may call."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseToolChoice(Strict):
    """Whether functions may, must or must not be called."""

    type: Literal["none", "auto", "required", "function"]
    name: str | None = None


class TextFormat(Strict):
    """What the text must look like."""

    type: Literal["text", "json_object", "json_schema", "grammar"]
    name: str | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None
    grammar: dict[str, Any] | None = None
    """Extension."""


class TextOptions(Strict):
    """The `text` parameter."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Lenient):
    """The `reasoning` parameter; summaries are not made."""

    effort: Effort | None = None


class ResponsesRequest(Strict):
    """One request."""

    model: NonEmpty
    input: Items
    instructions: str | None = None
    previous_response_id: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Fraction | None = None
    seed: Annotated[int, Field(ge=-SEED_LIMIT, lt=SEED_LIMIT)] | None = None
    """Extension."""
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: list[str] | None = None
    tools: Annotated[list[ResponseFunction], Field(max_length=128)] | None = None
    tool_choice: (
        Annotated[
            ResponseToolChoice,
            BeforeValidator(word_as_choice, json_schema_input_type=str | ResponseToolChoice),
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    store: bool | None = None
    stream: bool | None = None
    metadata: Metadata | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Extension."""

    # Accepted and without effect here.
    user: str | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: dict[str, Any] | None = None
    stream_options: dict[str, Any] | None = None

    # Known, but refused unless they ask for nothing.
    truncation: Literal["auto", "disabled"] | None = None
    background: bool | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    max_tool_calls: int | None = None
    moderation: dict[str, Any] | None = None
    context_management: list[Any] | None = None
    background_options: dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    access_programs: Any = None
