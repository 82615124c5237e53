"""Clients that open a connection and then take their time: bounded, and nobody else waits."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from daemon.api import app, serve
from tests.support.served_api import ServedApi, served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from daemon.text.model import TextModel
    from tests.support.fake_engine import FakeEngine

LIMIT_S = 20.0
PATIENCE_S = 0.3
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def api(
    engine: FakeEngine, text_model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[ServedApi]:
    """A server that loses patience sooner."""
    monkeypatch.setattr(app, "BODY_TIMEOUT_S", PATIENCE_S)
    monkeypatch.setattr(serve, "KEEP_ALIVE_S", PATIENCE_S)
    async with served(engine, text_model) as running:
        yield running


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send byte after byte, slower than anybody types."""
    with suppress(ConnectionError):
        for number in range(len(data)):
            writer.write(data[number : number + 1])
            await writer.drain()
            await asyncio.sleep(PATIENCE_S / 5)


async def is_served(api: ServedApi) -> bool:
    """Whether somebody else gets an answer."""
    body = {"model": "demo", "prompt": "hi"}
    return (await api.http.post("/v1/completions", json=body)).status_code == 200


async def test_a_body_of_a_byte_now_and_then_is_given_up(api: ServedApi) -> None:
    """The time is for the whole: one that never stops sending is no better than a silent one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(HEAD + b"Content-Length: 5000\r\n\r\n")
    dripping = asyncio.create_task(drip(writer, b"{" + b" " * 4999))
    assert await is_served(api)
    async with asyncio.timeout(LIMIT_S):
        answer = await reader.read()  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"message":"The request body did not come in time' in answer
    assert b"within 0.3 s" in answer
    assert api.engine.live == 0
    dripping.cancel()
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/comp", HEAD])
async def test_a_request_without_an_end_of_its_head_is_hung_up_on(
    api: ServedApi, sent: bytes
) -> None:
    """Half-open connections are not kept for longer than idle ones."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(sent)
    assert await is_served(api)
    async with asyncio.timeout(LIMIT_S):
        assert b" 200 " not in await reader.read()
    writer.close()
