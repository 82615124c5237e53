"""Streams of a benchmark: so many clients at once, and when each token came. Threads."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daemon.errors import StartFailed
from mlxconsole.chaos.report import percentile
from mlxconsole.chaos.requests import Answer, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPT = "Tell me a long story about the sea and the people who live beside it. Part {number}."


@dataclass
class Timed:
    """One streamed answer. Monotonic seconds."""

    began_s: float
    events_s: list[float] = field(default_factory=list[float])
    answer: Answer = field(default_factory=Answer)

    @property
    def first_token_s(self) -> float:
        """From the request to the first piece."""
        return self.events_s[0] - self.began_s

    @property
    def tokens(self) -> int:
        """As the server counts them, or as they came."""
        return self.answer.tokens or len(self.events_s)


@dataclass(frozen=True)
class Measured:
    """What a number of streams got."""

    streams: int
    tokens_per_s: float
    """Of all together, from the first request to the last token."""
    first_token_p50_s: float
    between_p50_s: float
    between_p99_s: float


def body(model: str, tokens: int, number: int) -> dict[str, Any]:
    """A request that any OpenAI server understands; each its own prompt."""
    return {
        "model": model,
        "prompt": PROMPT.format(number=number),
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }


def measure(port: int, model: str, streams: int, tokens: int, host: str = "127.0.0.1") -> Measured:
    """Run ``streams`` answers of ``tokens`` tokens at the same time.

    Raises:
        StartFailed: one failed; the text tells why.
    """
    requests = [Timed(0.0) for _ in range(streams)]
    barrier = threading.Barrier(streams)

    def run(number: int) -> None:
        request = requests[number]
        barrier.wait()
        request.began_s = time.monotonic()
        request.answer = ask(
            port,
            body(model, tokens, number),
            lambda: request.events_s.append(time.monotonic()),
            host,
        )

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summary(requests)


def summary(requests: Sequence[Timed]) -> Measured:
    """Percentiles and the rate of answers that ran side by side.

    Raises:
        StartFailed: one of them failed.
    """
    for request in requests:
        if request.answer.error or not request.events_s:
            raise StartFailed(f"a stream failed: {request.answer.error or 'no token came'}")
    began_s = min(request.began_s for request in requests)
    ended_s = max(request.events_s[-1] for request in requests)
    waits = [b - a for r in requests for a, b in itertools.pairwise(r.events_s)]
    return Measured(
        len(requests),
        sum(request.tokens for request in requests) / (ended_s - began_s),
        percentile([request.first_token_s for request in requests], 0.5),
        percentile(waits, 0.5),
        percentile(waits, 0.99),
    )
