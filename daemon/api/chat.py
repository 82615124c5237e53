"""POST /v1/chat/completions.

Owns the way of a chat request: checked, rendered, generated, answered at once or as a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.api.chat_format import ChatHead, ChatStream, WholeChoice
from daemon.api.chat_prepare import prepare_chat
from daemon.api.chat_rules import check_chat
from daemon.api.http import event_stream, json_response, read_body
from daemon.api.running import start_generation
from daemon.api.schemas.chat import ChatRequest
from daemon.api.sse import event_bytes
from daemon.api.usage import usage_body

if TYPE_CHECKING:
    from quart import Quart, Response

    from daemon.api.chat_prepare import PreparedChat
    from daemon.api.context import ApiContext
    from daemon.api.generation import Generation


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoint."""

    @app.post("/v1/chat/completions")
    async def create_chat_completion() -> Response:
        request = await read_body(ChatRequest)
        check_chat(request)
        context.check_model(request.model)
        prepared = await prepare_chat(context, request)
        prompt_tokens = len(prepared.calls[0].prompt_ids)
        generation = await start_generation(
            context, prepared.calls, prepared.choices, prompt_tokens
        )
        if request.stream:
            return await _stream(request, prepared, generation)
        return await _whole(request, prepared, generation)


async def _whole(request: ChatRequest, prepared: PreparedChat, generation: Generation) -> Response:
    whole = [WholeChoice(i) for i in range(len(prepared.choices))]
    async for updates in generation.updates():
        for update in updates:
            whole[update.index].add(update)
    head = ChatHead.new(prepared.model, prepared.fingerprint)
    body = head.fields("chat.completion")
    body["choices"] = [c.body(prepared.text, prepared.top_logprobs) for c in whole]
    body["usage"] = usage_body(generation.usage())
    if request.metadata and request.store:
        body["metadata"] = request.metadata
    return json_response(body)


async def _stream(request: ChatRequest, prepared: PreparedChat, generation: Generation) -> Response:
    with_usage = bool(request.stream_options and request.stream_options.include_usage)
    writer = ChatStream(
        ChatHead.new(prepared.model, prepared.fingerprint),
        prepared.text,
        len(prepared.choices),
        top_logprobs=prepared.top_logprobs,
        usage=generation.usage if with_usage else None,
    )
    await generation.accepted()
    return event_stream(event_bytes(generation, writer))
