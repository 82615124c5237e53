"""POST /v1/responses, and what was stored: GET, DELETE, input items, token counts.

Owns the way of a responses request: turned into a chat, generated, told as items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.api.chat_prepare import prepare_chat
from daemon.api.chat_rules import check_shape
from daemon.api.errors import ApiError, bad_request
from daemon.api.http import event_stream, json_response, read_body
from daemon.api.responses_format import ResponseBody, ResponseStream
from daemon.api.responses_input import check_responses, in_own_words, to_chat, to_messages
from daemon.api.responses_output import ResponseOutput
from daemon.api.responses_store import ResponseStore, StoredResponse
from daemon.api.running import start_generation
from daemon.api.schemas.responses import ResponsesRequest
from daemon.api.sse import event_bytes

if TYPE_CHECKING:
    from quart import Quart, Response

    from daemon.api.chat_prepare import PreparedChat
    from daemon.api.context import ApiContext


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoints."""
    store = ResponseStore()

    @app.post("/v1/responses")
    async def create_response() -> Response:
        request = await read_body(ResponsesRequest)
        return await _create(context, store, request)

    @app.post("/v1/responses/input_tokens")
    async def count_input_tokens() -> Response:
        request = await read_body(ResponsesRequest)
        prepared = await _prepare(context, request, _conversation(store, request))
        count = len(prepared.calls[0].prompt_ids)
        return json_response({"object": "response.input_tokens", "input_tokens": count})

    @app.get("/v1/responses/<response_id>")
    async def retrieve_response(response_id: str) -> Response:
        return json_response(store.find(response_id).body)

    @app.delete("/v1/responses/<response_id>")
    async def delete_response(response_id: str) -> Response:
        store.delete(response_id)
        return json_response({"id": response_id, "object": "response", "deleted": True})

    @app.get("/v1/responses/<response_id>/input_items")
    async def list_input_items(response_id: str) -> Response:
        items = store.find(response_id).input_items
        body = {"object": "list", "data": items, "has_more": False}
        ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]}
        return json_response(body | ends)


async def _create(context: ApiContext, store: ResponseStore, request: ResponsesRequest) -> Response:
    conversation = _conversation(store, request)
    prepared = await _prepare(context, request, conversation)
    output = ResponseOutput(prepared.text, prepared.top_logprobs)
    body = ResponseBody(request, prepared.model, output)

    def keep(response: dict[str, Any]) -> None:
        if request.store is not False:
            store.put(_stored(request, conversation, response))

    prompt_tokens = len(prepared.calls[0].prompt_ids)
    generation = await start_generation(context, prepared.calls, prepared.choices, prompt_tokens)
    if request.stream:
        await generation.accepted()
        writer = ResponseStream(body, generation.usage, keep)
        return event_stream(event_bytes(generation, writer))
    async for updates in generation.updates():
        for update in updates:
            output.take(update)
    response = body.ended(generation.usage())
    keep(response)
    return json_response(response)


def _conversation(store: ResponseStore, request: ResponsesRequest) -> list[dict[str, Any]]:
    """Earlier turns and the new input, as chat messages."""
    messages = to_messages(request.input)
    if request.previous_response_id is None:
        return messages
    previous = store.get(request.previous_response_id)
    if previous is None:
        raise bad_request(
            f"Previous response with id '{request.previous_response_id}' not found.",
            "previous_response_id",
            "previous_response_not_found",
        )
    return [*previous.messages, *messages]


async def _prepare(
    context: ApiContext, request: ResponsesRequest, messages: list[dict[str, Any]]
) -> PreparedChat:
    check_responses(request)
    context.check_model(request.model)
    try:
        chat = to_chat(request, messages)
        check_shape(chat)
        return await prepare_chat(context, chat)
    except ApiError as error:
        raise in_own_words(error) from error


def _stored(
    request: ResponsesRequest, conversation: list[dict[str, Any]], response: dict[str, Any]
) -> StoredResponse:
    answer: dict[str, Any] = {"role": "assistant", "content": None}
    for item in response["output"]:
        if item["type"] == "message":
            answer["content"] = item["content"][0]["text"]
        elif item["type"] == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            answer.setdefault("tool_calls", []).append(call)
    items = [
        {"id": f"item_{response['id'][5:]}_{i}", **item.model_dump(exclude_none=True)}
        for i, item in enumerate(request.input)
    ]
    return StoredResponse(response, [*conversation, answer], items)
