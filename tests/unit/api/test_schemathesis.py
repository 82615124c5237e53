"""Schemathesis makes requests from our own OpenAPI document; none makes the server fail."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.support.fake_engine import FakeEngine
from tests.support.served_api import served
from tests.support.tiny_tokenizer import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.text.model import TextModel

START_LIMIT_S = 30.0


@pytest.fixture(scope="module")
def url(text_model: TextModel) -> Iterator[str]:
    """A server in a thread of its own: schemathesis is no coroutine."""
    started, stop, urls = threading.Event(), asyncio.Event(), list[str]()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        async with served(FakeEngine(text_model, MAX_CONTEXT), text_model) as api:
            loops.append(asyncio.get_running_loop())
            urls.append(api.url)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(START_LIMIT_S)
    yield urls[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(START_LIMIT_S)


@pytest.mark.parametrize(
    "examples",
    [pytest.param(8, id="few"), pytest.param(400, id="many", marks=pytest.mark.slow)],
)
def test_no_request_makes_the_server_fail(url: str, examples: int) -> None:
    """The same requests every time; each answer of 400 and above is an error object."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations: list[Any] = [result.ok() for result in list[Any](schema.get_all_operations())]
    assert len(operations) >= 10
    for operation in operations:

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.filter_too_much,
                HealthCheck.data_too_large,
            ],
        )
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            response = case.call(timeout=20)
            assert response.status_code < 500, (case.body, response.text)
            if response.status_code >= 400:
                error = response.json()["error"]
                assert set(error) == {"message", "type", "param", "code"}, case.body

        check()
