"""The body of POST /v1/chat/completions.

Owns types and ranges; `chat_rules` checks what depends on more than one parameter.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from daemon.api.schemas.base import (
    Effort,
    FunctionName,
    Lenient,
    Metadata,
    NonEmpty,
    SamplingFields,
    Strict,
    word_as_choice,
)
from daemon.api.schemas.content import RefusalPart, text_or_parts


class TextPart(Lenient):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


Content = Annotated[
    list[Annotated[TextPart | RefusalPart, Field(discriminator="type")]],
    Field(min_length=1),
    text_or_parts("text", list[TextPart | RefusalPart]),
]


class CalledFunction(Lenient):
    """Name and arguments of a call."""

    name: NonEmpty
    arguments: str


class MessageCall(Lenient):
    """A tool call in an assistant's message."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class _Message(Lenient):
    name: str | None = None


class SystemMessage(_Message):
    """Instructions."""

    role: Literal["system"]
    content: Content


class DeveloperMessage(_Message):
    """Instructions, by the newer name."""

    role: Literal["developer"]
    content: Content


class UserMessage(_Message):
    """What the user says."""

    role: Literal["user"]
    content: Content


class AssistantMessage(_Message):
    """What the model said."""

    role: Literal["assistant"]
    content: Content | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[MessageCall] | None = None


class ToolMessage(_Message):
    """What a tool answered."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


Message = Annotated[
    SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage,
    Field(discriminator="role"),
]


class Function(Strict):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    """One of the tools offered."""

    type: Literal["function"]
    function: Function


class NamedFunction(Strict):
    """The function that must be called."""

    name: str


class ToolChoice(Strict):
    """Whether tools may, must or must not be called."""

    type: Literal["none", "auto", "required", "function"]
    function: NamedFunction | None = None


class SchemaFormat(Strict):
    """The `json_schema` of a response format."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class GrammarFormat(Strict):
    """The `grammar` of a response format (extension), as OpenAI's custom tools write it."""

    syntax: Literal["lark", "regex"]
    definition: NonEmpty


class ResponseFormat(Strict):
    """What the answer's text must look like."""

    type: Literal["text", "json_object", "json_schema", "grammar"]
    json_schema: SchemaFormat | None = None
    grammar: GrammarFormat | None = None


class ChatRequest(SamplingFields):
    """One chat completion request."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: (
        Annotated[
            ToolChoice,
            BeforeValidator(word_as_choice, json_schema_input_type=str | ToolChoice),
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Extension: passed to the chat template, for example `{"enable_thinking": false}`."""

    # Accepted and without effect here.
    metadata: Metadata | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    prediction: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: dict[str, Any] | None = None

    # Known, but refused by `chat_rules` unless they ask for nothing.
    modalities: list[Literal["text", "audio"]] | None = None
    audio: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
