"""The Engine service of rank 0 over gRPC, on the data port. Runs on gRPC's threads.

Translates between protos/engine.proto and `engine.front`; decides nothing.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import grpc

from daemon.engine.front import Call, EngineFront
from daemon.engine.sequences import Listener, Update
from daemon.errors import ClusterError, NotReady, StepFailed, grpc_code
from daemon.messages import SamplingParams
from protos import engine_pb2 as pb
from protos import engine_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon.messages import PromptScores

PROBE_TIMEOUT_S = 5.0

_Outbox = queue.SimpleQueue[pb.Updates | None]


class EngineService(engine_pb2_grpc.EngineServicer):
    """``front`` answers None until the model has been read."""

    def __init__(self, front: Callable[[], EngineFront | None]) -> None:
        self._front = front

    def Session(  # noqa: N802 - the name in the .proto
        self, request_iterator: Iterator[pb.Command], context: grpc.ServicerContext
    ) -> Iterator[pb.Updates]:
        """Serve one client until either side ends the stream."""
        front = self._loaded(context)
        # Bounded by the client's open requests, each of which has its own max_tokens.
        outbox: _Outbox = queue.SimpleQueue()

        def listener(updates: list[Update]) -> None:
            outbox.put(pb.Updates(updates=[update_to_proto(u) for u in updates]))

        def read() -> None:
            try:
                for command in request_iterator:
                    _obey(command, front, listener)
            except grpc.RpcError:
                pass  # the client is gone, which the callback below handles
            finally:
                outbox.put(None)

        def ended() -> None:
            front.cancel(listener)
            outbox.put(None)

        if not context.add_callback(ended):
            return
        threading.Thread(target=read, name="engine-session", daemon=True).start()
        yield pb.Updates()  # so that the client knows a session from a refusal
        while (updates := outbox.get()) is not None:
            yield updates

    def Describe(  # noqa: N802
        self, request: pb.DescribeRequest, context: grpc.ServicerContext
    ) -> pb.EngineInfo:
        """The model as loaded, and whether steps run."""
        del request
        front = self._loaded(context)
        model, waiting_for = front.model, front.waiting_for
        return pb.EngineInfo(
            model=model.name,
            fingerprint=model.fingerprint,
            layers=model.layers,
            vocab_size=model.vocab_size,
            max_context=model.max_context,
            world_size=model.world_size,
            epoch=front.epoch,
            running=front.running,
            queued=front.queued,
            ready=not waiting_for,
            waiting_for=waiting_for,
        )

    def Probe(  # noqa: N802
        self, request: pb.ProbeRequest, context: grpc.ServicerContext
    ) -> pb.ProbeReply:
        """One empty step through all ranks, within the caller's deadline."""
        del request
        front = self._loaded(context)
        began = time.monotonic()
        remaining = context.time_remaining()
        try:
            epoch = front.probe(min(PROBE_TIMEOUT_S, remaining or PROBE_TIMEOUT_S))
        except NotReady as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return pb.ProbeReply(seconds=time.monotonic() - began, epoch=epoch)

    def _loaded(self, context: grpc.ServicerContext) -> EngineFront:
        front = self._front()
        if front is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "rank 0 is still reading the model")
        return front


def handlers(service: EngineService) -> grpc.GenericRpcHandler[Any, Any]:
    """The service as a handler for a server that is somebody else's: the data port's."""
    return grpc.method_handlers_generic_handler(
        pb.DESCRIPTOR.services_by_name["Engine"].full_name,
        {
            "Session": grpc.stream_stream_rpc_method_handler(
                service.Session, pb.Command.FromString, pb.Updates.SerializeToString
            ),
            "Describe": grpc.unary_unary_rpc_method_handler(
                service.Describe, pb.DescribeRequest.FromString, pb.EngineInfo.SerializeToString
            ),
            "Probe": grpc.unary_unary_rpc_method_handler(
                service.Probe, pb.ProbeRequest.FromString, pb.ProbeReply.SerializeToString
            ),
        },
    )


def _obey(command: pb.Command, front: EngineFront, listener: Listener) -> None:
    if command.WhichOneof("command") == "cancel":
        front.cancel(listener, command.cancel)
        return
    call = call_from_proto(command.generate)
    try:
        front.submit(call, listener)
    except ClusterError as error:
        listener([Update(call.request_id, error=error)])


def call_from_proto(request: pb.GenerateRequest) -> Call:
    """A request as the engine takes it."""
    s = request.sampling
    return Call(
        request_id=request.request_id,
        prompt=tuple(request.prompt_ids),
        max_tokens=request.max_tokens,
        stop_ids=frozenset(request.stop_ids),
        generated=tuple(request.generated_ids),
        resumed=request.resumed,
        client=request.client,
        sampling=SamplingParams(
            temperature=s.temperature,
            top_p=s.top_p,
            top_k=s.top_k,
            min_p=s.min_p,
            seed=s.seed,
            presence_penalty=s.presence_penalty,
            frequency_penalty=s.frequency_penalty,
            repetition_penalty=s.repetition_penalty,
            logit_bias=tuple((b.token, b.bias) for b in s.logit_bias),
            logprobs=s.logprobs,
            top_logprobs=s.top_logprobs,
            grammar=s.grammar,
            prompt_logprobs=s.prompt_logprobs,
        ),
    )


def update_to_proto(update: Update) -> pb.Update:
    """An update as it crosses the wire."""
    message = pb.Update(request_id=update.request_id, finish_reason=update.finish_reason)
    message.cached_tokens = update.cached_tokens
    for out in update.tokens:
        token = message.tokens.add(id=out.token, logprob=out.logprob)
        for other, logprob in out.top:
            token.top.add(token=other, logprob=logprob)
    if update.prompt is not None:
        _add_prompt(message, update.prompt)
    if update.error is not None:
        error = update.error if isinstance(update.error, ClusterError) else StepFailed("failed")
        message.error.code = grpc_code(error)
        message.error.message = str(update.error)
    return message


def _add_prompt(message: pb.Update, scores: PromptScores) -> None:
    """The prompt's tokens are known to the client: only what the model thought of them goes."""
    rows = zip(
        scores.logprobs.tolist(),
        scores.top_tokens.tolist(),
        scores.top_logprobs.tolist(),
        strict=True,
    )
    for logprob, tokens, logprobs in rows:
        token = message.prompt.add(logprob=logprob)
        for other, value in zip(tokens, logprobs, strict=True):
            token.top.add(token=other, logprob=value)
