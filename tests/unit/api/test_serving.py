"""HTTP as it happens: clients that leave, read slowly, pipeline, speak old or new versions."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from daemon.api.serve import bind
from daemon.errors import PortInUse, SettingsError
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.support.served_api import ServedApi

CHAT = "/v1/chat/completions"
LIMIT_S = 5.0


def chat(**more: Any) -> dict[str, Any]:
    """A chat body."""
    return {"model": "demo", "messages": [{"role": "user", "content": "hi"}]} | more


def raw_chat(body: dict[str, Any], version: str = "1.1") -> bytes:
    """A whole HTTP request."""
    data = json.dumps(body).encode()
    head = (
        f"POST {CHAT} HTTP/{version}\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens_before", [0, 2])
async def test_a_client_that_leaves_frees_its_sequence(
    api: ServedApi, stream: bool, tokens_before: int
) -> None:
    """During prefill and in the middle, streamed or not."""
    api.engine.allowed = asyncio.Semaphore(tokens_before)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(raw_chat(chat(stream=stream, n=2)))
    await until(lambda: api.engine.live == 2)
    writer.close()
    await writer.wait_closed()
    await until(lambda: api.engine.live == 0)
    del reader


async def test_the_first_event_does_not_wait_for_the_first_token(api: ServedApi) -> None:
    """A long prefill must not look like a hanging server."""
    api.engine.allowed = asyncio.Semaphore(0)
    async with api.http.stream("POST", CHAT, json=chat(stream=True)) as response:
        assert response.status_code == 200
        line = await asyncio.wait_for(anext(response.aiter_lines()), LIMIT_S)
        assert json.loads(line[6:])["choices"][0]["delta"]["role"] == "assistant"
        assert api.engine.live == 1


async def test_a_pause_is_filled_with_comments(api: ServedApi) -> None:
    """Proxies and clients drop connections that are silent."""
    api.context.pause_s = 0.05
    api.engine.allowed = asyncio.Semaphore(1)
    lines: list[str] = []
    async with api.http.stream("POST", CHAT, json=chat(stream=True)) as response:
        async for line in response.aiter_lines():
            lines.append(line)
            if line.startswith(":"):
                api.engine.allowed.release()
            if line == "data: [DONE]":
                break
    assert ": keep-alive" in lines
    texts = [
        json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
        for line in lines
        if line.startswith("data: {")
    ]
    assert "".join(texts) == "Hello there."


async def test_a_slow_reader_holds_up_nobody(api: ServedApi) -> None:
    """Its own sequence waits; others run, and what waits is bounded."""
    api.engine.reply = lambda call: [64] * call.max_tokens
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    # So much that neither side's socket buffers hold it all.
    writer.write(raw_chat(chat(stream=True, n=128, max_tokens=400)))
    await until(lambda: api.engine.live == 128)
    for _ in range(3):
        response = await api.http.post(CHAT, json=chat(max_tokens=5))
        assert response.json()["choices"][0]["message"]["content"] == "aaaaa"
    assert api.engine.live == 128
    writer.close()
    await writer.wait_closed()
    await until(lambda: api.engine.live == 0)
    del reader


async def test_a_hundred_clients_at_once(api: ServedApi) -> None:
    """Each gets its own answer."""
    api.engine.reply = lambda call: api.engine.ids(f"seed {call.sampling.seed}")

    async def one(seed: int) -> str | None:
        answer = await api.openai.chat.completions.create(**chat(seed=seed))
        return answer.choices[0].message.content

    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(one(i) for i in range(100)))
    assert answers == [f"seed {i}" for i in range(100)]


async def test_a_body_that_is_too_large(api: ServedApi) -> None:
    """413 as an object, whether the length was declared or not, and the client can read it."""
    limit = api.context.settings.api.max_body_bytes

    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(limit // 65536 + 2):
            yield b"x" * 65536

    headers = {"content-type": "application/json"}
    for content in (b"x" * (limit + 1), chunks()):
        response = await api.http.post(CHAT, content=content, headers=headers)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "request_too_large"


async def test_a_declared_length_is_refused_before_the_body(api: ServedApi) -> None:
    """Nobody has to send 100 MB to learn that it is too much."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: 100000000\r\n\r\n{".encode()
    )
    status = await asyncio.wait_for(reader.readline(), LIMIT_S)
    assert status.startswith(b"HTTP/1.1 413")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"BROKEN\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * 200_000, 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_broken_http_is_answered_with_an_error_object(
    api: ServedApi, sent: bytes, status: int
) -> None:
    """Hypercorn says no before the app sees anything; clients still read an error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(sent)
    async with asyncio.timeout(LIMIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert b"x-request-id: req_" in head
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    writer.close()


async def test_http_1_0_streams(api: ServedApi) -> None:
    """Without chunks, ended by the close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(raw_chat(chat(stream=True), "1.0"))
    answer = await asyncio.wait_for(reader.read(), LIMIT_S)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"data: [DONE]\n\n")
    assert b"transfer-encoding" not in answer.lower()
    writer.close()
    await writer.wait_closed()


async def test_pipelined_requests_are_answered_in_order(api: ServedApi) -> None:
    """On one connection that stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    api.engine.reply = lambda call: api.engine.ids(f"<{call.sampling.seed}>")
    writer.write(raw_chat(chat(seed=1)) + raw_chat(chat(seed=2)))
    contents: list[str] = []
    for _ in range(2):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        contents.append(body["choices"][0]["message"]["content"])
    assert contents == ["<1>", "<2>"]
    writer.close()
    await writer.wait_closed()


async def test_chunked_bodies_and_http_2(api: ServedApi) -> None:
    """Both are ordinary today."""
    data = json.dumps(chat()).encode()

    async def chunks() -> AsyncGenerator[bytes]:
        yield data[:10]
        yield data[10:]

    headers = {"content-type": "application/json"}
    assert (await api.http.post(CHAT, content=chunks(), headers=headers)).status_code == 200
    async with httpx.AsyncClient(base_url=api.url, http1=False, http2=True) as http2:
        whole = await http2.post(CHAT, json=chat())
        assert (whole.http_version, whole.status_code) == ("HTTP/2", 200)
        stream = await http2.post(CHAT, json=chat(stream=True))
        assert stream.text.endswith("data: [DONE]\n\n")


async def test_a_shutdown_lets_streams_end(api: ServedApi) -> None:
    """New connections are refused, the running answer is finished."""
    api.engine.allowed = asyncio.Semaphore(1)
    async with api.http.stream("POST", CHAT, json=chat(stream=True)) as response:
        lines = response.aiter_lines()
        await anext(lines)
        api.stop.set()
        await until(lambda: _refuses(api.port))
        for _ in range(20):
            api.engine.allowed.release()
        assert [line async for line in lines][-2] == "data: [DONE]"
    await asyncio.wait_for(asyncio.shield(api.ended), LIMIT_S)


async def test_a_shutdown_does_not_wait_for_ever(api: ServedApi) -> None:
    """After the grace, what still runs is ended with a word."""
    api.engine.allowed = asyncio.Semaphore(1)
    whole = asyncio.create_task(api.http.post(CHAT, json=chat()))
    async with api.http.stream("POST", CHAT, json=chat(stream=True)) as response:
        await until(lambda: api.engine.live == 2)
        api.stop.set()
        lines = [line async for line in response.aiter_lines() if line.startswith("data: ")]
    assert "shutting down" in json.loads(lines[-1][6:])["error"]["message"]
    assert (await whole).status_code == 503
    await asyncio.wait_for(asyncio.shield(api.ended), LIMIT_S)


async def test_a_reader_that_does_not_read_is_cut_off(api: ServedApi) -> None:
    """It could not be told."""
    api.engine.reply = lambda call: [64] * call.max_tokens
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=1024)
    writer.write(raw_chat(chat(stream=True, n=128, max_tokens=400)))
    await until(lambda: api.engine.live == 128)
    api.stop.set()
    await asyncio.wait_for(asyncio.shield(api.ended), LIMIT_S)
    await until(lambda: api.engine.live == 0)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    del reader


def _refuses(port: int) -> bool:
    import socket  # noqa: PLC0415 - a probe, nothing more

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_in_use_is_named() -> None:
    """With its holder, in one line."""
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortInUse, match=f"api.port 127.0.0.1:{port} is taken by process"):
            bind("127.0.0.1", port)
    with pytest.raises(SettingsError, match="can't listen"):
        bind("203.0.113.1", 0)
