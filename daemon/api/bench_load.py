"""Streaming clients for measurements: raw sockets, so that the client costs little beside a server.

Owns what is measured of a stream. Knows no server; any OpenAI-like endpoint will do.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

CONNECT_TIMEOUT_S = 10.0
SILENCE_LIMIT_S = 60.0


@dataclass(slots=True)
class StreamTimes:
    """One streamed answer; times are `time.perf_counter`."""

    started: float
    tokens: list[float] = field(default_factory=list[float])
    """Arrival of each event with text."""

    @property
    def first_s(self) -> float:
        """Until the first text."""
        return self.tokens[0] - self.started

    @property
    def gaps_s(self) -> list[float]:
        """Between one text and the next."""
        return [after - before for before, after in pairwise(self.tokens)]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Some clients at once, each one stream after the other."""

    clients: int
    tokens_per_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    gap_p99_s: float
    tokens: int


async def run_load(port: int, body: dict[str, Any], *, clients: int, requests: int) -> LoadResult:
    """Stream ``requests`` answers for each of ``clients`` at the same time from 127.0.0.1.

    ``body`` is a chat completion without `stream`. Events with text count as tokens, so servers
    are to be given the same model and greedy sampling.
    """

    async def client() -> list[StreamTimes]:
        return [await stream_once(port, body) for _ in range(requests)]

    began = time.perf_counter()
    done = await asyncio.gather(*(client() for _ in range(clients)))
    elapsed_s = time.perf_counter() - began
    streams = [stream for streams in done for stream in streams]
    firsts = [stream.first_s for stream in streams]
    tokens = sum(len(stream.tokens) for stream in streams)
    gaps = [gap for stream in streams for gap in stream.gaps_s]
    return LoadResult(
        clients,
        tokens / elapsed_s,
        percentile(firsts, 50),
        percentile(firsts, 95),
        percentile(gaps, 99),
        tokens,
    )


async def stream_once(port: int, body: dict[str, Any]) -> StreamTimes:
    """One answer on a connection of its own."""
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection("127.0.0.1", port), CONNECT_TIMEOUT_S
    )
    data = json.dumps(body | {"stream": True}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    times = StreamTimes(time.perf_counter())
    writer.write(head.encode() + data)
    try:
        while line := await asyncio.wait_for(reader.readline(), SILENCE_LIMIT_S):
            if line.startswith(b"data: {") and _has_text(line):
                times.tokens.append(time.perf_counter())
            elif line.startswith(b"data: [DONE]"):
                break
    finally:
        writer.close()
    if not times.tokens:
        raise RuntimeError(f"port {port} streamed no text: is it an endpoint for chat?")
    return times


def _has_text(line: bytes) -> bool:
    choices = json.loads(line[6:])["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that ``percent`` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
