"""The responses API through the official client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from daemon.api.responses_store import ResponseStore, StoredResponse
from daemon.errors import StepFailed

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi

BAD_FORMAT: Any = {"type": "json_schema", "name": "x", "schema": {"uniqueItems": True}}
TOOL: Any = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}
BAD_TOOL: Any = TOOL | {"parameters": {"not": {}}, "strict": True}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'


def prompt(api: ServedApi) -> str:
    """The last prompt that the engine was given."""
    return api.engine.text.decode(api.engine.calls[-1].prompt_ids)


async def test_an_answer(api: ServedApi) -> None:
    """One message, its text, exact usage."""
    response = await api.openai.responses.create(
        model="demo", input="hi", instructions="Be brief.", metadata={"a": "b"}
    )
    assert response.output_text == "Hello there."
    assert (response.object, response.status, response.model) == ("response", "completed", "demo")
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert response.usage.input_tokens == len(api.engine.calls[0].prompt_ids)
    assert response.usage.output_tokens == len(api.engine.ids("Hello there."))
    assert "system\nBe brief." in prompt(api)
    assert (await api.openai.responses.retrieve(response.id)).output_text == "Hello there."
    items = await api.openai.responses.input_items.list(response.id)
    first: Any = items.data[0]
    assert first.content[0].text == "hi"
    await api.openai.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        await api.openai.responses.retrieve(response.id)


async def test_a_conversation_goes_on(api: ServedApi) -> None:
    """With `previous_response_id`; instructions hold for one response only."""
    first = await api.openai.responses.create(model="demo", input="one", instructions="X")
    second = await api.openai.responses.create(
        model="demo", input="two", previous_response_id=first.id
    )
    text = prompt(api)
    assert text.index("one") < text.index("Hello there.") < text.index("two")
    assert "system" not in text
    await api.openai.responses.create(
        model="demo", input="three", previous_response_id=second.id, store=False
    )
    assert prompt(api).count("Hello there.") == 2
    with pytest.raises(openai.BadRequestError) as caught:
        await api.openai.responses.create(model="demo", input="x", previous_response_id="resp_no")
    assert caught.value.code == "previous_response_not_found"


async def test_function_calls(api: ServedApi) -> None:
    """Called, answered, and remembered."""
    api.engine.say(CALL)
    first = await api.openai.responses.create(model="demo", input="add", tools=[TOOL])
    [call] = first.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("add", {"a": 1})
    api.engine.say("It is 1.")
    answer: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "1"}
    second = await api.openai.responses.create(
        model="demo", input=[answer], previous_response_id=first.id, tools=[TOOL]
    )
    assert second.output_text == "It is 1."
    assert '{"name": "add", "arguments": {"a": 1}}' in prompt(api)
    assert "<tool_response>\n1\n" in prompt(api)


async def test_a_stream(api: ServedApi) -> None:
    """The official client follows it; every event is numbered."""
    api.engine.say(f"<think>hm</think>On it.\n{CALL}")
    stream = await api.openai.responses.create(model="demo", input="add", tools=[TOOL], stream=True)
    events: list[Any] = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = list(dict.fromkeys(event.type.removeprefix("response.") for event in events))
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "output_item.done",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "completed",
    ]
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "On it."
    pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1
    [whole] = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert "".join(pieces) == whole.arguments == '{"a": 1}'
    final = events[-1].response
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.output_text == "On it."
    assert final.usage.output_tokens_details.reasoning_tokens == 4
    added = [e for e in events if e.type == "response.output_item.added"]
    assert [e.output_index for e in added] == [0, 1, 2]
    assert [e.item.status for e in added] == ["in_progress"] * 3
    async with api.openai.responses.stream(model="demo", input="add", tools=[TOOL]) as managed:
        assert (await managed.get_final_response()).output_text == "On it."


async def test_an_answer_that_is_cut(api: ServedApi) -> None:
    """Incomplete, with the reason."""
    response = await api.openai.responses.create(model="demo", input="hi", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "Hel"


async def test_logprobs(api: ServedApi) -> None:
    """If included."""
    response = await api.openai.responses.create(
        model="demo", input="hi", include=["message.output_text.logprobs"], top_logprobs=2
    )
    message: Any = response.output[0]
    logprobs = message.content[0].logprobs
    assert "".join(entry.token for entry in logprobs) == "Hello there."
    assert all(len(entry.top_logprobs) == 2 for entry in logprobs)


async def test_a_stream_that_fails(api: ServedApi) -> None:
    """Says so in events."""
    api.engine.failure = (2, StepFailed("rank 1 is lost"))
    body = {"model": "demo", "input": "hi", "stream": True}
    text = (await api.http.post("/v1/responses", json=body)).text
    events = [json.loads(part.split("data: ")[1]) for part in text.split("\n\n") if part]
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["message"] == "rank 1 is lost"


async def test_input_tokens(api: ServedApi) -> None:
    """Counted without generating."""
    body = {"model": "demo", "input": [{"role": "user", "content": "hi"}]}
    counted = (await api.http.post("/v1/responses/input_tokens", json=body)).json()
    assert counted["object"] == "response.input_tokens"
    await api.openai.responses.create(model="demo", input="hi")
    assert counted["input_tokens"] == len(api.engine.calls[0].prompt_ids)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": "x" * 600}, "input"),
        ({"temperature": 3}, "temperature"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"text": {"format": BAD_FORMAT}}, "text.format"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.grammar"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [BAD_TOOL]}, "tools[0].parameters"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
async def test_refusals(api: ServedApi, change: dict[str, Any], param: str) -> None:
    """400, in the client's own words."""
    response = await api.http.post("/v1/responses", json={"model": "demo", "input": "hi"} | change)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert api.engine.calls == []


def test_the_store_is_bounded() -> None:
    """By number and by size; the oldest are forgotten."""

    def stored(name: str, size: int = 1) -> StoredResponse:
        return StoredResponse({"id": name, "text": "x" * size}, [], [])

    store = ResponseStore(max_responses=2, max_characters=1000)
    for name in "abc":
        store.put(stored(name))
    assert store.get("a") is None
    assert store.get("c") is not None
    store.put(stored("d", 950))
    assert store.get("c") is None
    assert store.get("d") is not None
    store.delete("d")
    assert store.get("d") is None
