"""Plain completions: prompts of every kind, echo, logprobs, streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi


async def test_an_answer_has_every_field(api: ServedApi) -> None:
    """Sixteen tokens unless asked otherwise, and no text is trimmed."""
    api.engine.say(" and so on and so on and so on")
    answer = await api.openai.completions.create(model="demo", prompt="abc")
    [choice] = answer.choices
    assert answer.object == "text_completion"
    assert choice.text.startswith(" and so on")
    assert (choice.finish_reason, choice.index) == ("length", 0)
    assert choice.model_dump()["logprobs"] is None
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 16)


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("ab", [(64, 65)]),
        (["ab", "c"], [(64, 65), (66,)]),
        ([64, 65], [(64, 65)]),
        ([[64], [65, 66]], [(64,), (65, 66)]),
    ],
)
async def test_prompts(api: ServedApi, prompt: Any, prompts: list[tuple[int, ...]]) -> None:
    """Text, texts, ids, lists of ids; choices come prompt by prompt."""
    answer = await api.openai.completions.create(model="demo", prompt=prompt, n=2, max_tokens=4)
    given = [call.prompt_ids for call in api.engine.calls]
    assert given == [p for p in prompts for _ in range(2)]
    assert [choice.index for choice in answer.choices] == list(range(2 * len(prompts)))
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == sum(map(len, prompts))
    assert len({call.sampling.seed for call in api.engine.calls}) == 2 * len(prompts)


async def test_an_empty_prompt_is_the_beginning_of_a_document(api: ServedApi) -> None:
    """As OpenAI has it; the engine needs one token at least."""
    await api.openai.completions.create(model="demo", prompt="")
    [call] = api.engine.calls
    assert call.prompt_ids == api.engine.text.stop_ids[:1]


@pytest.mark.parametrize("stream", [False, True])
async def test_echo(api: ServedApi, stream: bool) -> None:
    """The prompt in front, also when nothing else is wanted."""
    for max_tokens, text in ((3, "abcHel"), (0, "abc")):
        request: Any = {
            "model": "demo",
            "prompt": "abc",
            "echo": True,
            "max_tokens": max_tokens,
            "stream": stream,
        }
        answer = await api.openai.completions.create(**request)
        if stream:
            texts = [choice.text async for chunk in answer for choice in chunk.choices]
            assert "".join(texts) == text
        else:
            assert answer.choices[0].text == text
            assert answer.choices[0].finish_reason == "length"
            assert answer.usage.completion_tokens == max_tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs(api: ServedApi, stream: bool) -> None:
    """Four lists of one length; offsets are places in the text."""
    request: Any = {
        "model": "demo",
        "prompt": "x",
        "logprobs": 2,
        "max_tokens": 5,
        "stream": stream,
    }
    answer = await api.openai.completions.create(**request)
    if stream:
        chunks = [chunk async for chunk in answer]
        parts = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
        tokens = [token for part in parts for token in part.tokens]
        offsets = [offset for part in parts for offset in part.text_offset]
    else:
        logprobs = answer.choices[0].logprobs
        tokens, offsets = logprobs.tokens, logprobs.text_offset
        assert logprobs.token_logprobs == [-0.25] * 5
        assert all(len(top) == 2 for top in logprobs.top_logprobs)
    assert tokens == ["H", "e", "l", "l", "o"]
    assert offsets == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("max_tokens", "rest"), [(2, "He"), (0, "")])
async def test_echo_with_logprobs(api: ServedApi, stream: bool, max_tokens: int, rest: str) -> None:
    """Evaluation harnesses score given texts so: each token but the first has a probability."""
    body = {"model": "demo", "prompt": "a\u00e9b", "echo": True, "logprobs": 1}
    body |= {"max_tokens": max_tokens, "stream": stream}
    response = await api.http.post("/v1/completions", json=body)
    if stream:
        events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        choices = [json.loads(event)["choices"][0] for event in events]
    else:
        choices = response.json()["choices"]
        assert response.json()["usage"]["completion_tokens"] == max_tokens
    assert "".join(choice["text"] for choice in choices) == "a\u00e9b" + rest
    assert choices[-1]["finish_reason"] == "length"
    parts = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    tokens, offsets, logprobs, top = (
        [value for part in parts for value in part[name]]
        for name in ("tokens", "text_offset", "token_logprobs", "top_logprobs")
    )
    assert tokens == ["a", "\ufffd", "\ufffd", "b", *rest]
    assert offsets == [0, 1, 1, 2, *range(3, 3 + max_tokens)]
    assert logprobs == [None, *[-0.25] * (3 + max_tokens)]
    assert top[0] is None
    assert all(len(one) == 1 for one in top[1:])
    [call] = api.engine.calls
    assert call.sampling.prompt_logprobs
    assert call.max_tokens == max(1, max_tokens)


async def test_a_stream_ends_with_reason_and_usage(api: ServedApi) -> None:
    """As the official client reads it."""
    stream = await api.openai.completions.create(
        model="demo", prompt="x", stream=True, stop="lo", stream_options={"include_usage": True}
    )
    *parts, counts = [chunk async for chunk in stream]
    assert "".join(part.choices[0].text for part in parts) == "Hel"
    assert parts[-1].choices[0].finish_reason == "stop"
    assert counts.usage is not None
    assert counts.usage.completion_tokens == 5


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [999999]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "a", "logprobs": 6}, "logprobs"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "a" * 600}, "prompt"),
        ({"prompt": ["a"] * 3, "n": 128}, "n"),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
async def test_refusals(api: ServedApi, body: dict[str, Any], param: str) -> None:
    """Each a 400 that names the parameter, before any token."""
    response = await api.http.post("/v1/completions", json={"model": "demo"} | body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert api.engine.calls == []


async def test_tokenize_and_back(api: ServedApi) -> None:
    """Both ways, special tokens included."""
    text = "Ça va <|im_end|>"
    tokens = (await api.http.post("/tokenize", json={"prompt": text})).json()
    assert tokens["count"] == len(tokens["tokens"])
    back = await api.http.post("/detokenize", json={"tokens": tokens["tokens"]})
    assert back.json()["prompt"] == text
    wrong = await api.http.post("/detokenize", json={"tokens": [-1]})
    assert wrong.status_code == 400
    huge = await api.http.post("/detokenize", json={"tokens": [2**70]})
    assert huge.status_code == 400


async def test_offsets_are_places_in_the_text(api: ServedApi) -> None:
    """Also where a character needs several tokens, streamed or not."""
    api.engine.say("Ça🙂b")
    request: Any = {"model": "demo", "prompt": "x", "logprobs": 0}
    whole = await api.openai.completions.create(**request)
    logprobs: Any = whole.choices[0].logprobs
    offsets = [0, 0, 1, 2, 2, 2, 2, 3]
    assert logprobs.text_offset == offsets
    assert [list(top) for top in logprobs.top_logprobs] == [[name] for name in logprobs.tokens]
    stream = await api.openai.completions.create(**request, stream=True)
    parts: list[Any] = [c.choices[0].logprobs async for c in stream if c.choices[0].logprobs]
    assert [offset for part in parts for offset in part.text_offset] == offsets
