"""The `prompts` suite: what a long prompt does to those who are being answered, and its cache."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Any

from daemon.errors import StartFailed
from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure
from mlxconsole.bench.servers import Server, own_cluster
from mlxconsole.bench.streams import body
from mlxconsole.chaos.requests import ask

if TYPE_CHECKING:
    from collections.abc import Generator

    from mlxconsole.bench.suites import Task

RANKS = 2
STREAMS = 4
TOKENS = 2_000
"""Of the long prompt."""
LEAST_RATE = 0.5
"""Of a stream's rate, while somebody else's prompt is read."""
MOST_WAIT = 0.1
"""Of the time to a first token, when all of the prompt but its end is cached."""
ENDLESS = 4_000
"""Tokens of a stream; it is left long before."""
LEAST_EVENTS = 40
"""Tokens of all streams that make a rate."""
FIRST_IDS = range(300, 1_000)
"""Token ids that any vocabulary has as plain text."""


class _Left(Exception):
    pass


def measure_suite(task: Task) -> list[Figure]:
    """Medians over prompts that differ, each beside the same without."""
    model = task.model or str(bench_model(task.folder / "prompts-model"))
    turns = 2 if task.quick else 5
    task.tell(f"prompts: starting {RANKS} ranks")
    with own_cluster(model, RANKS) as server:
        prompts = (_prompt(seed) for seed in itertools.count())
        _first_token_s(server, next(prompts))
        waits = [_cold_and_cached_s(server, next(prompts)) for _ in range(turns)]
        task.tell(f"prompts: first token, cold and cached: {waits[-1][0]:.3g}, {waits[-1][1]:.3g}")
        with _streams(server) as events_s:
            rates = [_rates(server, next(prompts), events_s) for _ in range(turns)]
        task.tell(f"prompts: streams beside a prompt: {rates[-1][1]:.4g} tok/s")
    cold_s, cached_s = (statistics.median(column) for column in zip(*waits, strict=True))
    calm, beside = (statistics.median(column) for column in zip(*rates, strict=True))
    return [
        Figure(
            "prompts",
            f"first token, {TOKENS} cached",
            cached_s * 1e3,
            "ms",
            "less",
            MOST_WAIT * cold_s * 1e3,
            f"{MOST_WAIT:g} of the cold one",
        ),
        Figure("prompts", f"first token, {TOKENS} cold", cold_s * 1e3, "ms", "less"),
        Figure(
            "prompts",
            f"{STREAMS} streams while {TOKENS} are read",
            beside,
            "tok/s",
            "more",
            LEAST_RATE * calm,
            f"{LEAST_RATE:g} of undisturbed",
        ),
    ]


def _prompt(seed: int) -> list[int]:
    """Token ids like no other seed's, from the first on."""
    return Random(seed).choices(FIRST_IDS, k=TOKENS)  # noqa: S311 - no secret


def _first_token_s(server: Server, prompt: list[int]) -> float:
    """From the request to the end of an answer of one token."""
    request: dict[str, Any] = body(server.model, 1, 0) | {"prompt": prompt}
    began_s = time.monotonic()
    answer = ask(server.port, request, lambda: None)
    if answer.error:
        raise StartFailed(f"a prompt of {len(prompt)} tokens failed: {answer.error}")
    return time.monotonic() - began_s


def _cold_and_cached_s(server: Server, prompt: list[int]) -> tuple[float, float]:
    """A prompt, then another one that ends otherwise."""
    return _first_token_s(server, prompt), _first_token_s(server, [*prompt, FIRST_IDS[0]])


@contextlib.contextmanager
def _streams(server: Server) -> Generator[list[float]]:
    """Clients who read answers; when each of their tokens came, monotonic, as it goes on."""
    events_s: list[float] = []
    left = threading.Event()

    def take() -> None:
        events_s.append(time.monotonic())
        if left.is_set():
            raise _Left

    def run(number: int) -> None:
        with contextlib.suppress(_Left):
            while not ask(server.port, body(server.model, ENDLESS, number), take).error:
                pass

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(STREAMS)]
    for thread in threads:
        thread.start()
    try:
        yield events_s
    finally:
        left.set()
        for thread in threads:
            thread.join()


def _rates(server: Server, prompt: list[int], events_s: list[float]) -> tuple[float, float]:
    """Tokens per second of all streams: undisturbed, then while a prompt is read."""
    for count in (LEAST_EVENTS, LEAST_EVENTS):  # the first of them fill the pipeline again
        before, began_s = len(events_s), time.monotonic()
        while len(events_s) < before + count:
            if time.monotonic() > began_s + 120:
                raise StartFailed("the streams stand still: see the rank's log")
            time.sleep(0.01)
        calm = (len(events_s) - before) / (time.monotonic() - began_s)
    before = len(events_s)
    took_s = _first_token_s(server, prompt)
    return calm, (len(events_s) - before) / took_s
