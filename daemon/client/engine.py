"""The API process's way to rank 0's engine. Runs on the API's event loop.

One stream carries all requests. When it breaks, because rank 0's worker died or restarts, the
live requests are sent again with the tokens given out so far, and go on where they were.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from daemon.api.engine import GenerateCall, ModelInfo, TokenBatch
from daemon.errors import (
    CancelledByOperator,
    ClusterError,
    EngineError,
    InvalidRequest,
    KvTooSmall,
    NotReady,
    QueueFull,
    StepFailed,
)
from daemon.messages import SamplingParams, TokenOut
from protos import engine_pb2 as pb
from protos import engine_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 5.0
FIRST_RETRY_S, RETRY_S = 0.03, 0.25
"""Between two tries to begin a session: a dead rank 0 is back soon, or not so soon."""
RECOVERY_TIMEOUT_S = 60.0
MOST_LOSSES = 8
"""Sessions lost in a row while a request got no token: it may be what kills rank 0."""

# A worker that is gone is found again quickly; one that is stopped is noticed within 2 s.
_CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # The scores of a long prompt come in one message.
    ("grpc.max_receive_message_length", -1),
    # Each channel dials for itself: see `_keep_session`.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy of the environment is for the way out, not for the ranks.
    ("grpc.enable_http_proxy", 0),
]

_ERRORS: dict[str, type[EngineError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": KvTooSmall,
    "RESOURCE_EXHAUSTED": QueueFull,
    "UNAVAILABLE": NotReady,
    "CANCELLED": CancelledByOperator,
}


@dataclass(eq=False)
class _Live:
    """A request that has not ended."""

    wire_id: str
    call: GenerateCall
    deliver: Callable[[TokenBatch | ClusterError], None]
    generated: list[int] = field(default_factory=list[int])
    losses: int = 0
    """Sessions lost since its last token."""

    def message(self, *, resumed: bool) -> pb.Command:
        """The request as it stands now: what was given out is not asked for again."""
        return pb.Command(
            generate=pb.GenerateRequest(
                request_id=self.wire_id,
                prompt_ids=self.call.prompt_ids,
                generated_ids=self.generated,
                max_tokens=self.call.max_tokens,
                stop_ids=self.call.stop_ids,
                sampling=sampling_to_proto(self.call.sampling),
                resumed=resumed,
                client=self.call.client,
            )
        )


class EngineClient:
    """Implements `daemon.api.engine.Engine`."""

    def __init__(
        self, host: str, port: int, recovery_timeout_s: float = RECOVERY_TIMEOUT_S
    ) -> None:
        self._address = f"{host}:{port}"
        self._channel = self._open_channel()
        self._stub = engine_pb2_grpc.EngineStub(self._channel)
        self._recovery_timeout_s = recovery_timeout_s
        self._live: dict[str, _Live] = {}
        self._numbers = itertools.count()
        self._session: asyncio.Task[None] | None = None
        self._outage_since_s: float | None = None  # until the first update after it
        self._was_up = False  # once seen up, requests wait through a recovery
        # Bounded by the live requests: one generate and one cancel each.
        self._commands: asyncio.Queue[pb.Command] | None = None

    async def describe(self) -> ModelInfo:
        """The model as loaded; raises `NotReady` until rank 0 has read it."""
        try:
            info = await self._stub.Describe(pb.DescribeRequest(), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise self._not_ready(error) from error
        self._was_up = self._was_up or info.ready
        return ModelInfo(
            name=info.model,
            fingerprint=info.fingerprint,
            layers=info.layers,
            vocab_size=info.vocab_size,
            max_context=info.max_context,
            world_size=info.world_size,
            epoch=info.epoch,
            ready=info.ready,
            waiting_for=info.waiting_for,
            running=info.running,
            queued=info.queued,
        )

    async def probe(self) -> float:
        """Seconds that one empty step through all ranks took; raises `NotReady`."""
        try:
            reply = await self._stub.Probe(pb.ProbeRequest(), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise self._not_ready(error) from error
        return reply.seconds

    def submit(
        self, call: GenerateCall, deliver: Callable[[TokenBatch | ClusterError], None]
    ) -> Callable[[], None]:
        """Tokens of one sequence, through losses of rank 0. See `daemon.api.engine.Engine`.

        The error at the end says that the request is refused or failed, or that rank 0 stayed away
        for too long.
        """
        live = _Live(f"{call.request_id}/{next(self._numbers)}", call, deliver)
        message = live.message(resumed=self._was_up)  # what can't be sent is raised, and not kept
        self._live[live.wire_id] = live
        self._open_session()
        if self._commands is not None:
            self._commands.put_nowait(message)
        return partial(self._leave, live)

    async def close(self) -> None:
        """End the session; requests that are live end with `NotReady`."""
        if self._session is not None:
            self._session.cancel()
            await asyncio.gather(self._session, return_exceptions=True)
        self._fail_all(NotReady("the API process is shutting down"))
        await self._channel.close(grace=None)

    def _open_channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS)

    def _leave(self, live: _Live) -> None:
        if self._live.pop(live.wire_id, None) is not None and self._commands is not None:
            self._commands.put_nowait(pb.Command(cancel=live.wire_id))

    def _fail(self, live: _Live, error: ClusterError) -> None:
        # One failure may have made its reader leave others, whose turn would come next.
        if self._live.pop(live.wire_id, None) is not None:
            live.deliver(error)

    def _open_session(self) -> None:
        if self._session is None or self._session.done():
            self._session = asyncio.create_task(self._keep_session(), name="engine-session")

    async def _keep_session(self) -> None:
        """Hold a session while there are requests; begin again when it breaks."""
        broken_since: float | None = None
        pause_s = FIRST_RETRY_S
        while self._live:
            # A channel of its own each time: one that has failed waits before it dials again.
            async with self._open_channel() as channel:
                began, reason = await self._hold_session(engine_pb2_grpc.EngineStub(channel))
            if began:
                broken_since, pause_s = None, FIRST_RETRY_S
                self._accuse()
            if broken_since is None:
                broken_since = time.monotonic()
                self._outage_since_s = self._outage_since_s or broken_since
                log.warning("engine_session_broken", extra={"fields": {"reason": str(reason)}})
            waited_s = time.monotonic() - broken_since
            if not self._was_up or waited_s > self._recovery_timeout_s:
                self._fail_all(reason)
            await asyncio.sleep(pause_s)
            pause_s = min(RETRY_S, 1.5 * pause_s)

    async def _hold_session(self, stub: engine_pb2_grpc.EngineStub) -> tuple[bool, NotReady]:
        """One session from its beginning to its end: whether it began, and why it is over."""
        commands: asyncio.Queue[pb.Command] = asyncio.Queue()
        for live in self._live.values():
            commands.put_nowait(live.message(resumed=self._was_up))
        self._commands = commands
        began = False
        # Written to, not fed from an iterator: grpc leaves the task behind that would read one.
        session: Any = stub.Session  # its stub knows no other way
        stream: grpc.aio.StreamStreamCall[pb.Command, pb.Updates] = session()
        writing: asyncio.Task[None] | None = None
        try:
            async for updates in stream:
                if not began:
                    # Not before: a write that meets a refusal takes its reason away.
                    writing = asyncio.create_task(_write(stream, commands), name="engine-commands")
                    began = True
                for update in updates.updates:
                    self._deliver(update)
        except grpc.aio.AioRpcError as error:
            return began, self._not_ready(error)
        finally:
            self._commands = None
            stream.cancel()
            if writing is not None:
                writing.cancel()
                await asyncio.wait([writing])
        return began, NotReady("rank 0 ended the session")

    def _accuse(self) -> None:
        """Count a lost session for every request; give up those that were there too often."""
        for live in list(self._live.values()):
            live.losses += 1
            if live.losses >= MOST_LOSSES:
                text = f"given up: rank 0 was lost {MOST_LOSSES} times in a row without a token"
                self._fail(live, StepFailed(text))

    def _deliver(self, update: pb.Update) -> None:
        if self._outage_since_s is not None:
            seconds = round(time.monotonic() - self._outage_since_s, 3)
            fields = {"seconds": seconds, "streams": len(self._live)}
            log.info("engine_session_restored", extra={"fields": fields})
            self._outage_since_s = None
        live = self._live.get(update.request_id)
        if live is None:
            return  # its reader has just left
        if update.HasField("error"):
            kind = _ERRORS.get(update.error.code, StepFailed)
            self._fail(live, kind(update.error.message))
            return
        tokens = tuple(_token(t.id, t) for t in update.tokens)
        following = live.call.prompt_ids[1:]
        # Sent once, with the first token: then there is one per token of the prompt.
        prompt = tuple(map(_token, following, update.prompt)) if update.prompt else ()
        self._was_up = True
        live.generated.extend(t.token for t in tokens)
        live.losses = 0
        if update.finish_reason:
            del self._live[live.wire_id]
        live.deliver(TokenBatch(tokens, update.finish_reason, update.cached_tokens, prompt))

    def _fail_all(self, error: NotReady) -> None:
        for live in list(self._live.values()):
            self._fail(live, error)

    def _not_ready(self, error: grpc.aio.AioRpcError) -> NotReady:
        ours = error.code() == grpc.StatusCode.UNAVAILABLE and "rank" in (error.details() or "")
        if ours:
            return NotReady(error.details())
        return NotReady(f"rank 0's worker does not answer at {self._address}")


def _token(token: int, scored: pb.Token) -> TokenOut:
    return TokenOut(0, token, scored.logprob, tuple((o.token, o.logprob) for o in scored.top))


async def _write(
    stream: grpc.aio.StreamStreamCall[pb.Command, pb.Updates], commands: asyncio.Queue[pb.Command]
) -> None:
    """Send commands as they come, until cancelled or the stream is over."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await stream.write(await commands.get())


def sampling_to_proto(sampling: SamplingParams) -> pb.Sampling:
    """Sampling parameters as they cross the wire; none is left out (see the test)."""
    return pb.Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        seed=sampling.seed,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        logit_bias=[pb.LogitBias(token=t, bias=b) for t, b in sampling.logit_bias],
        logprobs=sampling.logprobs,
        top_logprobs=sampling.top_logprobs,
        grammar=sampling.grammar,
        prompt_logprobs=sampling.prompt_logprobs,
    )
