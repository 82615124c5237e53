"""Runs the sequences of one request side by side and merges what they bring.

Owns the tasks: whoever leaves the `async with` cancels them, and with them the sequences. Knows
nothing of HTTP. The queue is bounded: a slow reader slows its own sequences, nobody else's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from daemon.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from types import TracebackType

    from daemon.api.choice import Choice, Update
    from daemon.api.engine import Engine, GenerateCall

log = logging.getLogger(__name__)

QUEUED_UPDATES = 64
"""Per request. When it is full, its sequences wait (in the engine client's own flow control)."""
ACCEPT_WAIT_S = 0.25
"""Refusals (queue full, not ready) come faster; after that, a stream starts without a token."""
PAUSE_S = 10.0
"""Silence after which a stream says that it is alive."""


@dataclass(slots=True)
class Usage:
    """Tokens of a request, over all its choices."""

    prompt_tokens: int
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Generation:
    """The running sequences of one request; use with `async with`."""

    def __init__(
        self,
        engine: Engine,
        calls: Sequence[GenerateCall],
        choices: Sequence[Choice],
        *,
        prompt_tokens: int,
        pause_s: float,
    ) -> None:
        self._engine = engine
        self._calls = calls
        self._pause_s = pause_s
        self._prompt_tokens = prompt_tokens
        self._queue: asyncio.Queue[Update | Exception | None] = asyncio.Queue(QUEUED_UPDATES)
        self._tasks: list[asyncio.Task[None]] = []
        self._moved = False
        self._timer: asyncio.TimerHandle | None = None
        self._first: list[Update] = []
        self._error: Exception | None = None
        self.choices = choices
        self.first_token_at: float | None = None
        """`time.monotonic` of the first update."""

    async def __aenter__(self) -> Self:
        """Start all sequences."""
        pairs = zip(self._calls, self.choices, strict=True)
        self._tasks = [asyncio.create_task(self._pump(call, choice)) for call, choice in pairs]
        self._arm()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all sequences that still run."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def break_off(self, error: Exception) -> None:
        """Make ``error`` the next thing that the reader finds."""
        self._error = error
        if self._queue.empty():
            self._queue.put_nowait(None)

    async def accepted(self) -> None:
        """Wait a moment for the first update, so that a refusal can still be a status code.

        Raises:
            Exception: what the engine raised so far.
        """
        try:
            async with asyncio.timeout(ACCEPT_WAIT_S):
                item = await self._queue.get()
        except TimeoutError:
            return
        if item is not None:
            self._first.append(self._checked(item))

    async def updates(self) -> AsyncGenerator[list[Update], None]:
        """What has come since the last time, in order; empty after a pause.

        Raises:
            Exception: what the engine raised.
        """
        ending = len(self.choices)
        while ending:
            batch = self._first or await self._next()
            self._first = []
            ending -= sum(1 for update in batch if update.finish_reason)
            yield batch

    def usage(self) -> Usage:
        """Token counts so far."""
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=sum(choice.completion_tokens for choice in self.choices),
            cached_tokens=max((choice.cached_tokens for choice in self.choices), default=0),
            reasoning_tokens=sum(choice.reader.reasoning_tokens for choice in self.choices),
        )

    async def _next(self) -> list[Update]:
        if self._error is not None:
            raise self._error
        item = await self._queue.get()
        if item is None:
            return []
        batch = [self._checked(item)]
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if isinstance(item, Exception):
                self._error = item  # raised next time: what came before it goes out first
                break
            if item is not None:
                batch.append(item)
        return batch

    def _checked(self, item: Update | Exception) -> Update:
        if isinstance(item, Exception):
            raise item
        self._moved = True
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
        return item

    async def _pump(self, call: GenerateCall, choice: Choice) -> None:
        try:
            async with aclosing(self._engine.generate(call)) as batches:
                async for batch in batches:
                    for update in choice.read(batch):
                        await self._queue.put(update)
                    if choice.finished:
                        return
            raise choice.broken_off()
        except ClusterError as error:
            await self._queue.put(error)
        except Exception as error:
            log.exception("generation_failed", extra={"fields": {"request_id": call.request_id}})
            await self._queue.put(error)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._tick)

    def _tick(self) -> None:
        if not self._moved and self._queue.empty():
            self._queue.put_nowait(None)
        self._moved = False
        self._arm()
