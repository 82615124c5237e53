"""Runs the sequences of one request side by side and merges what they bring.

Owns their lives: whoever leaves the `async with` ends them. Knows nothing of HTTP. What a step
brings wakes the reader once, without tasks or queues in between: that is most of a token's price.
What a slow reader has not taken yet waits here, at most `max_tokens` a sequence.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from daemon.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from types import TracebackType

    from daemon.api.choice import Choice, Update
    from daemon.api.engine import Engine, GenerateCall, TokenBatch

log = logging.getLogger(__name__)

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
        self._arrived: list[Update] = []
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._leaves: list[Callable[[], None]] = []
        self._moved = False
        self._timer: asyncio.TimerHandle | None = None
        self.choices = choices
        self.first_token_at: float | None = None
        """`time.monotonic` of the first update."""

    async def __aenter__(self) -> Self:
        """Start all sequences."""
        try:
            for call, choice in zip(self._calls, self.choices, strict=True):
                deliver = partial(self._deliver, call, choice)
                self._leaves.append(self._engine.submit(call, deliver))
        except BaseException:
            self._leave()
            raise
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
        self._leave()

    def break_off(self, error: Exception) -> None:
        """End all sequences; the reader finds ``error`` behind what has come."""
        self._failure = self._failure or error
        self._leave()
        self._wake()

    async def accepted(self) -> None:
        """Wait a moment for the first update, so that a refusal can still be a status code.

        Raises:
            Exception: what the engine raised so far.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(ACCEPT_WAIT_S):
                await self._news()
        if self._failure is not None and not self._arrived:
            raise self._failure

    async def updates(self) -> AsyncGenerator[list[Update], None]:
        """What has come since the last time, in order; empty after a pause.

        Raises:
            Exception: what the engine raised.
        """
        ending = len(self.choices)
        while ending:
            batch = await self._next()
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
        await self._news()
        if not self._arrived and self._failure is not None:
            raise self._failure
        batch, self._arrived = self._arrived, []
        self._moved = self._moved or bool(batch)
        return batch

    async def _news(self) -> None:
        """Wait for updates, a failure or the end of a pause."""
        if not self._arrived and self._failure is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _deliver(
        self, call: GenerateCall, choice: Choice, batch: TokenBatch | ClusterError
    ) -> None:
        """Take in what the engine brings; called by the reader of all requests: never raises."""
        if isinstance(batch, ClusterError):
            self.break_off(batch)
            return
        try:
            self._arrived.extend(choice.read(batch))
        except Exception as error:
            log.exception("generation_failed", extra={"fields": {"request_id": call.request_id}})
            self.break_off(error)
            return
        if choice.finished:
            self._leaves[choice.index]()
        if self._arrived:
            self.first_token_at = self.first_token_at or time.monotonic()
            self._wake()

    def _leave(self) -> None:
        for leave in self._leaves:
            leave()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._tick)

    def _tick(self) -> None:
        if not self._moved:
            self._wake()
        self._moved = False
        self._arm()
