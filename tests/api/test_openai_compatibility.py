"""The endpoint against OpenAI's own types and schemas, on a real cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration

FRANCE: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France?"}
]


def test_openai_models_endpoint(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """Lists the one model that is served, with its context length, and finds it by name."""
    page = client.models.list()
    assert page.object == "list"
    [model] = page.data
    assert model.id == cluster.model
    assert model.object == "model"
    assert model.owned_by == "mlxconsole"
    assert model.model_dump()["max_model_len"] == 8192
    assert client.models.retrieve(cluster.model) == model


def test_openai_chat_format(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """Every member that clients rely on, plain and streamed, with one text."""
    answer = client.chat.completions.create(model=cluster.model, messages=FRANCE, temperature=0)
    [choice] = answer.choices
    assert answer.object == "chat.completion"
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert choice.message.content is not None
    assert "Paris" in choice.message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    stream = client.chat.completions.create(
        model=cluster.model,
        messages=FRANCE,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == choice.message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.completion_tokens == answer.usage.completion_tokens


def test_openai_error_responses(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """The classes of the official client, with param and code."""
    create: Any = client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="gpt-4o", messages=FRANCE)
    assert unknown.value.code == "model_not_found"
    for change, param in (
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        ({"n": 0}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 100_000}, "messages"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            create(**({"model": cluster.model, "messages": FRANCE} | change))
        assert caught.value.param == param
        assert caught.value.type == "invalid_request_error"


async def test_concurrent_requests(cluster: RunningCluster) -> None:
    """Many at once get the text that each gets alone."""
    questions = [f"What is {a} + {b}?" for a, b in ((1, 2), (3, 4), (12, 30), (5, 9))]
    async with openai.AsyncOpenAI(base_url=cluster.base_url, api_key="none") as client:

        async def ask(question: str) -> str | None:
            answer = await client.chat.completions.create(
                model=cluster.model,
                messages=[{"role": "user", "content": question}],
                temperature=0,
                max_tokens=32,
            )
            return answer.choices[0].message.content

        alone = [await ask(question) for question in questions]
        together = await asyncio.gather(*(ask(question) for question in questions * 4))
    assert together == alone * 4


def test_openai_api_compliance(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """Logprobs, choices and completions have OpenAI's shapes on real tokens."""
    answer = client.chat.completions.create(
        model=cluster.model,
        messages=FRANCE,
        n=2,
        seed=1,
        logprobs=True,
        top_logprobs=3,
        max_tokens=8,
        temperature=0,
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        joined = bytes(b for entry in choice.logprobs.content for b in entry.bytes or ())
        assert joined.decode() == choice.message.content
        for entry in choice.logprobs.content:
            assert entry.logprob <= 0
            assert len(entry.top_logprobs) == 3
            assert entry.top_logprobs[0].token == entry.token, "greedy takes the likeliest"
    completion = client.completions.create(
        model=cluster.model, prompt="The capital of", max_tokens=4, temperature=0, echo=True
    )
    assert completion.choices[0].text.startswith("The capital of")
    assert completion.usage is not None
    assert completion.usage.completion_tokens <= 4


def test_a_text_scores_the_same_read_or_written(
    client: openai.OpenAI, cluster: RunningCluster
) -> None:
    """`echo` with `logprobs` finds in a prompt what it said when it wrote those tokens."""
    prompt = tokenized(cluster, "The capital of France is")
    options: Any = {"model": cluster.model, "temperature": 0, "logprobs": 2, "echo": True}
    written = client.completions.create(prompt=prompt, max_tokens=12, **options).choices[0]
    read = client.completions.create(
        prompt=tokenized(cluster, written.text), max_tokens=0, **options
    ).choices[0]
    assert read.text == written.text
    assert read.logprobs is not None
    assert written.logprobs is not None
    assert read.logprobs.tokens == written.logprobs.tokens
    for ours, theirs in zip(
        read.logprobs.token_logprobs or (), written.logprobs.token_logprobs or (), strict=True
    ):
        assert ours == pytest.approx(theirs, abs=1e-3)
    assert read.logprobs.top_logprobs is not None
    assert [top and len(top) >= 2 for top in read.logprobs.top_logprobs[:2]] == [None, True]


def tokenized(cluster: RunningCluster, text: str) -> list[int]:
    """Token ids of a text."""
    url = cluster.base_url.removesuffix("/v1") + "/tokenize"
    return httpx.post(url, json={"prompt": text}).json()["tokens"]
