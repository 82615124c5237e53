"""How people really use the endpoint: notebooks, batches, streams; on a real cluster."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from daemon.client.control import ControlClient

if TYPE_CHECKING:
    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration

CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}


def question(country: str) -> Any:
    """Messages of one question."""
    return [{"role": "user", "content": f"What is the capital of {country}?"}]


def test_jupyter_notebook_usage(cluster: RunningCluster) -> None:
    """Cells run one after another on one client, also the synchronous one inside a loop."""

    async def notebook() -> list[str]:
        # Jupyter has a running event loop in the thread that runs the cells.
        history: list[Any] = []
        answers: list[str] = []
        with openai.OpenAI(base_url=cluster.base_url, api_key="none") as client:
            for cell in ("My name is Anna.", "What is my name?"):
                history.append({"role": "user", "content": cell})
                answer = client.chat.completions.create(
                    model=cluster.model, messages=history, temperature=0, max_tokens=40
                )
                content = answer.choices[0].message.content or ""
                history.append({"role": "assistant", "content": content})
                answers.append(content)
        return answers

    assert "Anna" in asyncio.run(notebook())[-1]


async def test_batch_processing_jobs(cluster: RunningCluster) -> None:
    """Many at once, each answered once and rightly; the same job gives the same answers."""
    countries = list(CAPITALS) * 8
    async with openai.AsyncOpenAI(base_url=cluster.base_url, api_key="none") as client:

        async def one(country: str) -> str:
            answer = await client.chat.completions.create(
                model=cluster.model, messages=question(country), temperature=0, max_tokens=32
            )
            return answer.choices[0].message.content or ""

        answers = await asyncio.gather(*(one(country) for country in countries))
    for country, answer in zip(countries, answers, strict=True):
        assert CAPITALS[country] in answer
    assert len(set(answers)) == len(CAPITALS)


async def test_streaming_responses(cluster: RunningCluster) -> None:
    """Tokens come one by one while the answer is still being made, to sync and async clients."""
    async with openai.AsyncOpenAI(base_url=cluster.base_url, api_key="none") as client:
        started = time.monotonic()
        stream = await client.chat.completions.create(
            model=cluster.model,
            messages=question("France"),
            temperature=0,
            max_tokens=64,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
        pieces: list[tuple[float, str]] = []
        usage = None
        async for chunk in stream:
            usage = chunk.usage or usage
            if chunk.choices and chunk.choices[0].delta.content:
                pieces.append((time.monotonic() - started, chunk.choices[0].delta.content))
    assert "Paris" in "".join(text for _, text in pieces)
    assert usage is not None
    assert usage.completion_tokens == 64
    assert len(pieces) > 32, "about one event a token"
    first_s, last_s = pieces[0][0], pieces[-1][0]
    assert first_s < last_s / 2, "the first token came long before the last"
    with openai.OpenAI(base_url=cluster.base_url, api_key="none") as plain:
        whole = plain.chat.completions.create(
            model=cluster.model,
            messages=question("France"),
            temperature=0,
            max_tokens=64,
            extra_body={"ignore_eos": True},
        )
    assert whole.choices[0].message.content == "".join(text for _, text in pieces)


async def test_a_client_that_leaves_makes_room(cluster: RunningCluster) -> None:
    """Its sequences are freed on the ranks, long before they would have ended."""
    async with (
        openai.AsyncOpenAI(base_url=cluster.base_url, api_key="none") as client,
        ControlClient("127.0.0.1", cluster.control_port) as control,
    ):

        async def live(expected: int) -> None:
            deadline_s = time.monotonic() + 10
            while (now := (await control.get_status()).sequences) != expected:
                assert time.monotonic() < deadline_s, f"{now} sequences live, not {expected}"
                await asyncio.sleep(0.1)

        stream = await client.chat.completions.create(
            model=cluster.model,
            messages=question("France"),
            max_tokens=4000,
            n=4,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        await live(4)
        await stream.close()
        await live(0)
