"""POST /v1/chat/completions.

Owns the way of a chat request: checked, rendered, generated, answered at once or as a stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.api.chat_format import ChatHead, ChatStream, WholeChoice
from daemon.api.chat_rules import check_chat
from daemon.api.choice import Choice
from daemon.api.engine import GenerateCall
from daemon.api.errors import bad_request
from daemon.api.http import event_stream, json_response, read_body, request_id
from daemon.api.running import start_generation
from daemon.api.sampling import for_choice, sampling_params, token_budget
from daemon.api.schemas.chat import ChatRequest
from daemon.api.sse import event_bytes
from daemon.api.usage import usage_body
from daemon.text.answer import ToolUse
from daemon.text.template import TemplateRefusal

if TYPE_CHECKING:
    from quart import Quart, Response

    from daemon.api.context import ApiContext
    from daemon.api.generation import Generation
    from daemon.text.model import TextModel
    from daemon.text.template import RenderedChat

NO_THINKING = {"none", "minimal"}


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoint."""

    @app.post("/v1/chat/completions")
    async def create_chat_completion() -> Response:
        request = await read_body(ChatRequest)
        check_chat(request)
        context.check_model(request.model)
        prepared = await _prepare(context, request)
        prompt_tokens = len(prepared.calls[0].prompt_ids)
        generation = await start_generation(
            context, prepared.calls, prepared.choices, prompt_tokens
        )
        if request.stream:
            return await _stream(request, prepared, generation)
        return await _whole(request, prepared, generation)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request, ready to run."""

    text: TextModel
    head: ChatHead
    calls: list[GenerateCall]
    choices: list[Choice]
    top_logprobs: int | None
    """None: no logprobs wanted."""


async def _prepare(context: ApiContext, request: ChatRequest) -> _Prepared:
    text = await context.text()
    tools = _tools(request)
    rendered = _render(text, request, tools)
    prompt_ids = await context.encode(rendered.text, special=False)
    info = await context.info()
    sampling = sampling_params(
        request,
        info.vocab_size if info else 0,
        logprobs=bool(request.logprobs),
        top_logprobs=request.top_logprobs or 0,
    )
    max_tokens = token_budget(
        len(prompt_ids),
        request.max_completion_tokens or request.max_tokens,
        await context.max_context(),
        context.settings.engine.max_output_tokens,
        "messages",
    )
    stop_ids = () if request.ignore_eos else text.stop_ids
    tool_use = None
    if tools and text.tool_parser is not None:
        tool_use = ToolUse(text.tool_parser, tools, one_call=request.parallel_tool_calls is False)
    stops = tuple(request.stop or ())
    n = request.n or 1
    call_id = request_id()
    keep = bool(request.logprobs)
    return _Prepared(
        text,
        ChatHead.new(context.model_name, f"fp_{info.fingerprint[:10] if info else 'unknown'}"),
        [
            GenerateCall(call_id, prompt_ids, max_tokens, stop_ids, for_choice(sampling, i))
            for i in range(n)
        ],
        [
            Choice(
                i,
                text.chat_reader(stops, in_reasoning=rendered.in_reasoning, tool_use=tool_use),
                keep_tokens=keep,
            )
            for i in range(n)
        ],
        (request.top_logprobs or 0) if request.logprobs else None,
    )


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    if request.tool_choice is not None and request.tool_choice.type == "none":
        return []
    return [tool.model_dump(exclude_none=True) for tool in request.tools or ()]


def _render(text: TextModel, request: ChatRequest, tools: list[dict[str, Any]]) -> RenderedChat:
    if not text.has_chat_template:
        raise bad_request(
            "This model has no chat template: use /v1/completions.", "messages", "no_chat_template"
        )
    options = dict(request.chat_template_kwargs or {})
    if request.reasoning_effort is not None:
        options.setdefault("enable_thinking", request.reasoning_effort not in NO_THINKING)
        options.setdefault("reasoning_effort", request.reasoning_effort)
    for reserved in ("messages", "conversation", "tools", "tokenize", "add_generation_prompt"):
        options.pop(reserved, None)
    messages = [message.model_dump(exclude_none=True) for message in request.messages]
    try:
        return text.render(messages, tools, options)
    except TemplateRefusal as error:
        raise bad_request(
            f"The model's chat template refuses these messages: {error}.",
            "messages",
            "template_refusal",
        ) from error


async def _whole(request: ChatRequest, prepared: _Prepared, generation: Generation) -> Response:
    whole = [WholeChoice(i) for i in range(len(prepared.choices))]
    async for updates in generation.updates():
        for update in updates:
            whole[update.index].add(update)
    body = prepared.head.fields("chat.completion")
    body["choices"] = [c.body(prepared.text, prepared.top_logprobs) for c in whole]
    body["usage"] = usage_body(generation.usage())
    if request.metadata and request.store:
        body["metadata"] = request.metadata
    return json_response(body)


async def _stream(request: ChatRequest, prepared: _Prepared, generation: Generation) -> Response:
    with_usage = bool(request.stream_options and request.stream_options.include_usage)
    writer = ChatStream(
        prepared.head,
        prepared.text,
        len(prepared.choices),
        top_logprobs=prepared.top_logprobs,
        usage=generation.usage if with_usage else None,
    )
    await generation.accepted()
    return event_stream(event_bytes(generation, writer))
