"""A conversation with the cluster over its own OpenAI endpoint, as any client would have it.

Knows no screen. Runs in the event loop of its user; closing the generator ends the request.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

CONNECT_TIMEOUT_S = 5.0
PIECE_TIMEOUT_S = 120.0
MAX_TOKENS = 1_024
KEY_VARIABLE = "MLXCONSOLE_API_KEY"
_LONGEST_LINE = 1024 * 1024


class ChatError(Exception):
    """The endpoint can't be reached, refuses, or broke off; says so in words."""


@dataclass
class Turn:
    """One question and what has come of the answer."""

    question: str
    answer: str = ""
    tokens: int = 0
    asked_at_s: float = field(default_factory=time.monotonic)
    first_at_s: float = 0.0
    last_at_s: float = 0.0
    state: str = "asking"
    """asking, answering, done, cancelled or an error in words."""

    @property
    def first_token_s(self) -> float:
        """From the question to the first piece; 0 before it."""
        return self.first_at_s - self.asked_at_s if self.first_at_s else 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Of the answer after its first piece."""
        span_s = self.last_at_s - self.first_at_s
        return (self.tokens - 1) / span_s if self.tokens > 1 and span_s > 0 else None

    def take(self, text: str, tokens: int) -> None:
        """Another piece."""
        self.last_at_s = time.monotonic()
        self.first_at_s = self.first_at_s or self.last_at_s
        self.answer += text
        self.tokens = tokens or self.tokens + 1
        self.state = "answering"


def messages(turns: list[Turn]) -> list[dict[str, str]]:
    """The conversation as the endpoint wants it; answers that never came are left out."""
    found: list[dict[str, str]] = []
    for turn in turns:
        found.append({"role": "user", "content": turn.question})
        if turn.answer:
            found.append({"role": "assistant", "content": turn.answer})
    return found


async def ask(api_url: str, model: str, turns: list[Turn]) -> AsyncGenerator[tuple[str, int]]:
    """Pieces of the answer to the last turn, each with the tokens so far (0: not told).

    Raises:
        ChatError: says what went wrong.
    """
    body = {
        "model": model,
        "messages": messages(turns),
        "max_tokens": MAX_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    parts = urlsplit(api_url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                parts.hostname, port, ssl=secure or None, limit=_LONGEST_LINE
            )
    except (OSError, TimeoutError) as error:
        raise ChatError(f"nobody answers at {api_url}: {error or 'no answer in time'}") from error
    try:
        writer.write(_request(parts.netloc, json.dumps(body).encode()))
        await writer.drain()
        async for line in _events(reader):
            if line == b"[DONE]":
                return
            yield _piece(json.loads(line))
        raise ChatError("the answer broke off: the endpoint closed the connection")
    except TimeoutError as error:
        raise ChatError(f"no token within {PIECE_TIMEOUT_S:g} s") from error
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        raise ChatError(f"the answer broke off: {error}") from error
    finally:
        writer.close()


def _request(host: str, body: bytes) -> bytes:
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    key = os.environ.get(KEY_VARIABLE)
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The data of each event. Raises ChatError for an answer that is an error."""
    status, chunked = await _head(reader)
    content = _chunks(reader) if chunked else _rest(reader)
    begun = b""
    async for data in content:
        *lines, begun = (begun + data).split(b"\n")
        for line in lines if status == 200 else ():
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if status != 200:
        raise ChatError(_refusal(status, begun))  # on one line


async def _head(reader: asyncio.StreamReader) -> tuple[int, bool]:
    first = await _line(reader)
    status, chunked = int(first.split()[1]), False
    while header := (await _line(reader)).strip().lower():
        chunked = chunked or header == b"transfer-encoding: chunked"
    return status, chunked


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await _line(reader), 16):
        async with asyncio.timeout(PIECE_TIMEOUT_S):
            piece = await reader.readexactly(size + 2)
        yield piece[:-2]


async def _rest(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(PIECE_TIMEOUT_S):
            data = await reader.read(65_536)
        if not data:
            return
        yield data


async def _line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PIECE_TIMEOUT_S):
        line = await reader.readline()
    if not line:
        raise ValueError("the endpoint closed the connection")
    return line


def _piece(event: dict[str, Any]) -> tuple[str, int]:
    if "error" in event:
        raise ChatError(str(event["error"].get("message", event["error"])))
    tokens = (event.get("usage") or {}).get("completion_tokens", 0)
    choices = event.get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or "", tokens


def _refusal(status: int, body: bytes) -> str:
    try:
        return f"HTTP {status}: {json.loads(body)['error']['message']}"
    except (ValueError, LookupError, TypeError):
        return f"HTTP {status}: {body[:200].decode(errors='replace')}"
