"""An engine without ranks: it says what a test has written for it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from daemon.api.engine import GenerateCall, ModelInfo, TokenBatch
from daemon.errors import ClusterError
from daemon.messages import TokenOut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from daemon.text.model import TextModel


class FakeEngine:
    """Answers every call with `reply`; counts what is live, as the scheduler would."""

    def __init__(self, text: TextModel, max_context: int) -> None:
        self.text = text
        self.max_context = max_context
        self.ready = True
        self.calls: list[GenerateCall] = []
        self.live = 0
        self.reply: Callable[[GenerateCall], list[int]] = lambda _: self.ids("Hello there.")
        self.refusal: ClusterError | None = None
        """Raised instead of an answer."""
        self.failure: tuple[int, ClusterError] | None = None
        """Raised after so many tokens."""
        self.allowed: asyncio.Semaphore | None = None
        """One permit per token; None lets all go."""
        self.batch_size = 1
        self.cached_tokens = 0
        self.probes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.probe_error: ClusterError | None = None

    def ids(self, text: str) -> list[int]:
        """Token ids of a scripted answer."""
        return list(self.text.encode(text, special=False))

    def say(self, text: str) -> None:
        """Answer every call with ``text``, and then the end of the turn."""
        self.reply = lambda _: self.ids(text)

    async def describe(self) -> ModelInfo:
        """See `daemon.api.engine.Engine`."""
        return ModelInfo(
            "demo",
            "0123456789abcdef",
            layers=4,
            vocab_size=300,
            max_context=self.max_context,
            world_size=2,
            epoch=1,
            ready=self.ready,
            running=self.live,
            queued=3,
        )

    async def probe(self) -> float:
        """See `daemon.api.engine.Engine`."""
        self.probes += 1
        await asyncio.sleep(0)
        if self.probe_error is not None:
            raise self.probe_error
        return 0.001

    def submit(
        self, call: GenerateCall, deliver: Callable[[TokenBatch | ClusterError], None]
    ) -> Callable[[], None]:
        """See `daemon.api.engine.Engine`."""
        self.calls.append(call)
        self.live += 1
        task = asyncio.create_task(self._run(call, deliver))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return partial(self._cancel, task)

    @staticmethod
    def _cancel(task: asyncio.Task[None]) -> None:
        task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.live -= 1

    async def _run(
        self, call: GenerateCall, deliver: Callable[[TokenBatch | ClusterError], None]
    ) -> None:
        try:
            if self.refusal is not None:
                raise self.refusal
            async for batch in self._batches(call):
                deliver(batch)
        except ClusterError as error:
            deliver(error)

    async def _batches(self, call: GenerateCall) -> AsyncGenerator[TokenBatch, None]:
        tokens = self.reply(call)
        stop = next((i for i, token in enumerate(tokens) if token in call.stop_ids), len(tokens))
        reason = "stop" if stop < call.max_tokens else "length"
        tokens = tokens[: min(stop, call.max_tokens)]
        for start in range(0, len(tokens), self.batch_size):
            if self.failure is not None and start >= self.failure[0]:
                raise self.failure[1]
            if self.allowed is not None:
                await self.allowed.acquire()
            part = tokens[start : start + self.batch_size]
            scored = call.prompt_ids[1:] if call.sampling.prompt_logprobs and not start else ()
            yield TokenBatch(
                tuple(self._token(token) for token in part),
                cached_tokens=self.cached_tokens,
                prompt=tuple(self._token(token) for token in scored),
            )
            await asyncio.sleep(0)
        yield TokenBatch((), reason)

    def _token(self, token: int) -> TokenOut:
        other = (token + 1) % 256
        return TokenOut(0, token, -0.25, ((token, -0.25), (other, -1.5)))
