"""Answers fit the official package's types as they stand, not only as its client reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from tests.support.conformance import surprises

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi

HI: Any = [{"role": "user", "content": "hi"}]
FUNCTION: Any = {"name": "add", "parameters": {"type": "object"}}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
ANSWERS = ["Hello there.", f"<think>hm</think>On it.\n{CALL}\n{CALL}"]
CHATS: list[dict[str, Any]] = [
    {},
    {"n": 2, "logprobs": True, "top_logprobs": 2},
    {"max_tokens": 3, "stop": ["l"], "metadata": {"a": "b"}, "store": True},
]


async def events(api: ServedApi, path: str, body: dict[str, Any]) -> list[Any]:
    """The JSON of a stream's events."""
    text = (await api.http.post(path, json=body | {"stream": True})).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("more", CHATS, ids=str)
async def test_chat(api: ServedApi, answer: str, more: dict[str, Any]) -> None:
    """Whole and streamed."""
    api.engine.say(answer)
    tools = [{"type": "function", "function": FUNCTION}]
    body = {"model": "demo", "messages": HI, "tools": tools} | more
    whole = (await api.http.post("/v1/chat/completions", json=body)).json()
    assert surprises(ChatCompletion, whole) == []
    body["stream_options"] = {"include_usage": True}
    chunks = await events(api, "/v1/chat/completions", body)
    assert [found for chunk in chunks for found in surprises(ChatCompletionChunk, chunk)] == []
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


@pytest.mark.parametrize("more", [{}, {"logprobs": 2, "n": 2}], ids=str)
async def test_completions(api: ServedApi, more: dict[str, Any]) -> None:
    """Streamed chunks have the type of whole ones, but no reason until the end."""
    body = {"model": "demo", "prompt": "abc"} | more
    whole = (await api.http.post("/v1/completions", json=body)).json()
    assert surprises(Completion, whole) == []
    for chunk in await events(api, "/v1/completions", body):
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        assert surprises(Completion, chunk) == []


@pytest.mark.parametrize("answer", ANSWERS)
async def test_responses(api: ServedApi, answer: str) -> None:
    """Every event is one of OpenAI's, in type and members."""
    api.engine.say(answer)
    tools = [{"type": "function", **FUNCTION}]
    body = {"model": "demo", "input": "hi", "tools": tools, "instructions": "Be brief."}
    whole = (await api.http.post("/v1/responses", json=body)).json()
    assert surprises(Response, whole) == []
    found = await events(api, "/v1/responses", body)
    for event in found:
        # OpenAI's description demands this name; the package's type does not know it.
        known = [".name"] if event["type"] == "response.function_call_arguments.done" else []
        assert surprises(ResponseStreamEvent, event) == known
    assert [event["sequence_number"] for event in found] == list(range(len(found)))


async def test_models(api: ServedApi) -> None:
    """Ours has one member more: the context."""
    for model in (await api.http.get("/v1/models")).json()["data"]:
        assert surprises(Model, model) == []
