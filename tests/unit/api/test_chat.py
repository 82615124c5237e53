"""Chat completions through the official client, on an engine that is scripted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi

HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2]}}\n</tool_call>'


async def test_an_answer_has_every_field(api: ServedApi) -> None:
    """Clients index into these without asking."""
    api.engine.say("Hello there.<|im_end|>")
    api.engine.cached_tokens = 3
    answer = await api.openai.chat.completions.create(model="demo", messages=HI, seed=7)
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.model) == ("chat.completion", "demo")
    [choice] = answer.choices
    assert choice.message.content == "Hello there."
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    raw = choice.model_dump()
    assert raw["logprobs"] is None
    assert raw["message"]["refusal"] is None
    usage = answer.usage
    assert usage is not None
    [call] = api.engine.calls
    assert usage.prompt_tokens == len(call.prompt_ids)
    assert usage.completion_tokens == len(api.engine.ids("Hello there."))
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 3


async def test_parameters_reach_the_engine(api: ServedApi) -> None:
    """None is lost between the body and the sampler."""
    await api.openai.chat.completions.create(
        model="demo",
        messages=HI,
        temperature=0.5,
        top_p=0.9,
        seed=-1,
        presence_penalty=1,
        frequency_penalty=-2,
        logit_bias={"5": 10},
        logprobs=True,
        top_logprobs=4,
        max_completion_tokens=9,
        user="me",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        extra_body={"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1},
    )
    [call] = api.engine.calls
    sampling = call.sampling
    assert call.max_tokens == 9
    assert call.stop_ids == api.engine.text.stop_ids
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 3)
    assert (sampling.min_p, sampling.repetition_penalty) == (0.1, 1.1)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1, -2)
    assert sampling.seed == 2**64 - 1
    assert sampling.logit_bias == ((5, 10.0),)
    assert (sampling.logprobs, sampling.top_logprobs) == (True, 4)


async def test_defaults_are_openais(api: ServedApi) -> None:
    """Temperature 1, a seed of its own each time, and null means default."""
    body: dict[str, Any] = {"model": "demo", "messages": HI}
    nulls = dict.fromkeys(
        ("temperature", "top_p", "n", "stop", "max_tokens", "seed", "logit_bias", "tools", "stream")
    )
    for extra in ({}, nulls):
        response = await api.http.post("/v1/chat/completions", json=body | extra)
        assert response.status_code == 200, response.text
    first, second = api.engine.calls
    assert first.sampling.temperature == second.sampling.temperature == 1.0
    assert first.sampling.seed != second.sampling.seed
    assert first.max_tokens == api.engine.max_context - len(first.prompt_ids)


async def test_a_stream_is_the_same_answer_in_pieces(api: ServedApi) -> None:
    """One event a token, no character split, the role first, the reason last, usage on demand."""
    api.engine.say("Ça va? 🙂 Yes.")
    chunks = [
        chunk
        async for chunk in await api.openai.chat.completions.create(
            model="demo", messages=HI, stream=True, stream_options={"include_usage": True}
        )
    ]
    *parts, counts = chunks
    assert parts[0].choices[0].delta.role == "assistant"
    texts = [part.choices[0].delta.content or "" for part in parts]
    assert "".join(texts) == "Ça va? 🙂 Yes."
    assert len([text for text in texts if text]) == len("Ça va? 🙂 Yes.")
    reasons = [part.choices[0].finish_reason for part in parts]
    assert reasons == [None] * (len(parts) - 1) + ["stop"]
    assert all(part.usage is None for part in parts)
    assert counts.choices == []
    assert counts.usage is not None
    assert counts.usage.completion_tokens == len(api.engine.ids("Ça va? 🙂 Yes."))
    assert len({chunk.id for chunk in chunks}) == 1


async def test_framing_on_the_wire(api: ServedApi) -> None:
    """Exactly `data: ...` and an empty line, usage null in other chunks only if asked for."""
    body = {"model": "demo", "messages": HI, "stream": True}
    for options in (None, {"include_usage": True}):
        response = await api.http.post(
            "/v1/chat/completions", json=body | {"stream_options": options}
        )
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["x-request-id"].startswith("req_")
        *events, end = response.text.split("\n\n")
        assert end == ""
        assert all(event.startswith("data: ") and "\n" not in event for event in events)
        assert events[-1] == "data: [DONE]"
        chunks = [json.loads(event[6:]) for event in events[:-1]]
        assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
        assert all(("usage" in chunk) == bool(options) for chunk in chunks)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["the end", ["zzz", "e e", "the end", "nd"], "."])
async def test_stop_strings(
    api: ServedApi, batch_size: int, stream: bool, stop: str | list[str]
) -> None:
    """Found across tokens and batches, never shown, and the rest is not generated."""
    api.engine.say("It is the end. And more.")
    api.engine.batch_size = batch_size
    request: Any = {"model": "demo", "messages": HI, "stop": stop, "stream": stream}
    answer = await api.openai.chat.completions.create(**request)
    if stream:
        chunks = [chunk async for chunk in answer]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    expected = {"the end": "It is ", ".": "It is the end"}
    assert text == (expected[stop] if isinstance(stop, str) else "It is th")
    assert reason == "stop"


async def test_length_is_told_apart_from_stop(api: ServedApi) -> None:
    """And the count is exact."""
    answer = await api.openai.chat.completions.create(model="demo", messages=HI, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "Hel"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs(api: ServedApi, stream: bool) -> None:
    """One entry for every token of the content, with bytes and sorted alternatives."""
    api.engine.say("Ça 🙂.")
    request: Any = {
        "model": "demo",
        "messages": HI,
        "logprobs": True,
        "top_logprobs": 2,
        "stream": stream,
    }
    answer = await api.openai.chat.completions.create(**request)
    if stream:
        chunks = [chunk async for chunk in answer]
        entries = [
            entry
            for chunk in chunks
            if chunk.choices[0].logprobs
            for entry in chunk.choices[0].logprobs.content
        ]
    else:
        entries = answer.choices[0].logprobs.content
    joined = bytes(byte for entry in entries for byte in entry.bytes)
    assert joined.decode() == "Ça 🙂."
    assert len(entries) == len(api.engine.ids("Ça 🙂."))
    for entry in entries:
        assert entry.top_logprobs[0].token == entry.token
        values = [other.logprob for other in entry.top_logprobs]
        assert values == sorted(values, reverse=True)
        assert len(values) == 2


async def test_n_choices_have_seeds_of_their_own(api: ServedApi) -> None:
    """Choice i is what a request with seed + i would give; streamed, they mix by index."""
    api.engine.reply = lambda call: api.engine.ids(f"seed {call.sampling.seed}")
    answer = await api.openai.chat.completions.create(model="demo", messages=HI, n=3, seed=5)
    assert [c.message.content for c in answer.choices] == ["seed 5", "seed 6", "seed 7"]
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3 * len(api.engine.ids("seed 5"))
    assert answer.usage.prompt_tokens == len(api.engine.calls[0].prompt_ids)
    texts = ["", "", ""]
    stream = await api.openai.chat.completions.create(
        model="demo", messages=HI, n=3, seed=5, stream=True
    )
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["seed 5", "seed 6", "seed 7"]


async def test_tool_calls(api: ServedApi) -> None:
    """Parsed, with no markup left, and the reason says so."""
    api.engine.say(f"{CALL}\n{CALL}<|im_end|>")
    answer = await api.openai.chat.completions.create(model="demo", messages=HI, tools=[TOOL])
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    calls: Any = choice.message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"a": 1, "b": [2]}] * 2
    assert len({call.id for call in calls}) == 2
    one = await api.openai.chat.completions.create(
        model="demo", messages=HI, tools=[TOOL], parallel_tool_calls=False
    )
    assert one.choices[0].message.tool_calls is not None
    assert len(one.choices[0].message.tool_calls) == 1
    assert one.choices[0].finish_reason == "tool_calls"
    none = await api.openai.chat.completions.create(
        model="demo", messages=HI, tools=[TOOL], tool_choice="none"
    )
    assert none.choices[0].message.tool_calls is None
    assert none.choices[0].message.content == f"{CALL}\n{CALL}"


async def test_tool_calls_streamed(api: ServedApi) -> None:
    """The official client puts the deltas together again."""
    api.engine.say(f"On it.\n{CALL}\n{CALL}")
    async with api.openai.chat.completions.stream(
        model="demo", messages=HI, tools=[TOOL]
    ) as stream:
        answer = await stream.get_final_completion()
    [choice] = answer.choices
    assert choice.message.content == "On it."
    assert choice.finish_reason == "tool_calls"
    calls: Any = choice.message.tool_calls
    assert [call.function.name for call in calls] == ["add", "add"]
    assert json.loads(calls[1].function.arguments) == {"a": 1, "b": [2]}


async def test_arguments_come_as_they_are_written(api: ServedApi) -> None:
    """The name first, then a delta per token; never the end of the call's own braces."""
    api.engine.say(CALL)
    stream = await api.openai.chat.completions.create(
        model="demo", messages=HI, tools=[TOOL], stream=True
    )
    deltas = [
        call
        async for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]
    first, *rest = [delta.function for delta in deltas]
    assert first is not None
    assert (first.name, first.arguments) == ("add", "")
    assert deltas[0].id
    assert [part and part.arguments for part in rest] == list('{"a": 1, "b": [2]}')
    assert {delta.index for delta in deltas} == {0}
    assert [delta.id for delta in deltas[1:]] == [None] * len(rest)


async def test_a_call_that_is_cut(api: ServedApi) -> None:
    """What was written is out already; the reason says that it is not whole."""
    cut = CALL[: CALL.index("[2]")]
    api.engine.say(cut)
    stream = await api.openai.chat.completions.create(
        model="demo", messages=HI, tools=[TOOL], stream=True, max_tokens=len(api.engine.ids(cut))
    )
    chunks = [chunk.choices[0] async for chunk in stream]
    parts = [call.function for choice in chunks for call in choice.delta.tool_calls or ()]
    assert "".join((part and part.arguments) or "" for part in parts) == '{"a": 1, "b": '
    assert chunks[-1].finish_reason == "length"
    assert "".join(choice.delta.content or "" for choice in chunks) == ""


async def test_reasoning_is_kept_apart(api: ServedApi) -> None:
    """Thinking text in `reasoning_content`, counted."""
    api.engine.say("<think>\nhm\n</think>\n\nYes")
    answer = await api.openai.chat.completions.create(model="demo", messages=HI)
    message: Any = answer.choices[0].message
    assert (message.content, message.reasoning_content) == ("Yes", "hm")
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 6
    stream = await api.openai.chat.completions.create(model="demo", messages=HI, stream=True)
    deltas: list[Any] = [chunk.choices[0].delta async for chunk in stream]
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == "hm"
    assert "".join(d.content or "" for d in deltas) == "Yes"


@pytest.mark.parametrize(
    ("body", "closed"),
    [
        ({}, True),
        ({"reasoning_effort": "none"}, True),
        ({"reasoning_effort": "high"}, False),
        ({"chat_template_kwargs": {"enable_thinking": False}}, True),
        (
            {"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "high"},
            True,
        ),
    ],
)
async def test_the_thinking_switch(api: ServedApi, body: dict[str, Any], closed: bool) -> None:
    """Off means that the prompt has closed the thinking already."""
    await api.http.post("/v1/chat/completions", json={"model": "demo", "messages": HI} | body)
    prompt = api.engine.text.decode(api.engine.calls[0].prompt_ids)
    assert prompt.endswith("</think>\n\n") == closed


async def test_messages_of_every_kind_are_rendered(api: ServedApi) -> None:
    """A whole conversation with tools, as an agent sends it back."""
    call: Any = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "2"}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call], "annotations": []},
        {"role": "tool", "tool_call_id": "c1", "content": "three"},
    ]
    await api.openai.chat.completions.create(model="demo", messages=messages, tools=[TOOL])
    prompt = api.engine.text.decode(api.engine.calls[0].prompt_ids)
    for piece in ("Be brief.", "user\none2<", '{"name": "add", "arguments": {}}', "three"):
        assert piece in prompt
