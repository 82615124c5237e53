"""Clients that leave, wait or do nothing, on a real cluster: they cost the others nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration
LIMIT_S = 30.0
ENDLESS: dict[str, Any] = {"max_tokens": 4000, "ignore_eos": True}
IDLE = 256


@pytest.fixture
async def http(cluster: RunningCluster) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the cluster that the other tests share."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{cluster.api_port}",
        timeout=LIMIT_S,
        trust_env=False,
        limits=httpx.Limits(max_connections=2 * IDLE),
    ) as client:
        yield client


def long_prompt(seed: int) -> list[int]:
    """Seconds of work; no two begin alike, so that no cache has them."""
    return [300 + seed, *(100 + (7 * place + seed) % 150 for place in range(7500))]


async def running(http: httpx.AsyncClient, expected: int) -> None:
    """Wait until so many sequences run, by both gauges."""
    gauge = f"mlxconsole_sequences_running {float(expected)}"
    async with asyncio.timeout(LIMIT_S):
        while (await http.get("/status")).json()["sequences_running"] != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while gauge not in (await http.get("/metrics")).text:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def written_tokens(http: httpx.AsyncClient) -> float:
    """Completion tokens of all requests that have ended."""
    name = "mlxconsole_completion_tokens_total "
    text = (await http.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name))


async def read_to_the_end(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Ask for a completion; being cancelled closes the connection."""
    async with http.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_lines():
            pass


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_ends_with_its_reader(
    http: httpx.AsyncClient, cluster: RunningCluster, stream: bool
) -> None:
    """Streamed or not: nobody computes thousands of tokens that nobody reads."""
    before = await written_tokens(http)
    body = ENDLESS | {"model": cluster.model, "prompt": f"Stream: {stream}", "stream": stream}
    reading = asyncio.create_task(read_to_the_end(http, body))
    await running(http, 1)
    reading.cancel()
    await running(http, 0)
    assert await written_tokens(http) - before < ENDLESS["max_tokens"]


async def test_a_prompt_is_not_read_on_for_nobody(
    http: httpx.AsyncClient, cluster: RunningCluster
) -> None:
    """A client that leaves before the first token gets none computed."""
    before = await written_tokens(http)
    body = {"model": cluster.model, "prompt": long_prompt(1), "max_tokens": 500, "stream": True}
    reading = asyncio.create_task(read_to_the_end(http, body))
    await running(http, 1)
    reading.cancel()
    await running(http, 0)
    assert await written_tokens(http) == before


async def test_a_short_request_passes_long_prompts(
    http: httpx.AsyncClient, cluster: RunningCluster
) -> None:
    """It takes turns with them, and is answered while they are still being read."""
    base: dict[str, Any] = {"model": cluster.model, "max_tokens": 1, "temperature": 0}
    reading = [
        asyncio.create_task(read_to_the_end(http, base | {"prompt": long_prompt(seed)}))
        for seed in range(2, 5)
    ]
    await running(http, len(reading))
    answer = await http.post("/v1/completions", json=base | {"prompt": "Hello", "max_tokens": 8})
    assert answer.status_code == 200
    assert not any(task.done() for task in reading)
    for task in reading:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await running(http, 0)


async def test_idle_connections_leave_room_for_others(
    http: httpx.AsyncClient, cluster: RunningCluster
) -> None:
    """Clients keep connections for minutes; ranks don't know of them."""
    answers = await asyncio.gather(*(http.get("/v1/models") for _ in range(IDLE)))
    assert {answer.status_code for answer in answers} == {200}
    await running(http, 0)
    body: dict[str, Any] = {"model": cluster.model, "prompt": "Hello", "max_tokens": 4}
    async with httpx.AsyncClient(base_url=http.base_url, timeout=LIMIT_S, trust_env=False) as new:
        assert (await new.post("/v1/completions", json=body)).status_code == 200
