"""The API process's engine client against the real service over real gRPC."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from daemon.api.engine import GenerateCall, TokenBatch
from daemon.client.engine import MOST_LOSSES, EngineClient, sampling_to_proto
from daemon.engine_service import EngineService, call_from_proto, handlers
from daemon.errors import ClusterError, InvalidRequest, NotReady, StepFailed
from daemon.messages import SamplingParams
from protos import engine_pb2 as pb
from tests.support.engine_server import CONTEXT, EngineServer
from tests.support.fake_cluster import expected
from tests.support.ports import free_ports
from tests.support.token_stream import generate
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


def call(prompt: tuple[int, ...] = (1, 2, 3), count: int = 8) -> GenerateCall:
    """A greedy request."""
    return GenerateCall("request", prompt, count, (), SamplingParams())


async def text(client: EngineClient, request: GenerateCall) -> list[int]:
    """All tokens of a request."""
    return [t.token async for batch in generate(client, request) for t in batch.tokens]


@pytest.fixture
async def server() -> AsyncIterator[EngineServer]:
    """A running engine."""
    running = EngineServer()
    yield running
    await asyncio.to_thread(running.stop)


@pytest.fixture
async def client(server: EngineServer) -> AsyncIterator[EngineClient]:
    """A client of it."""
    connected = EngineClient("127.0.0.1", server.port)
    yield connected
    await connected.close()


async def test_streams_of_one_client_stay_apart(client: EngineClient) -> None:
    """All requests share one gRPC stream."""
    prompts = [tuple(range(1, n)) for n in range(2, 12)]
    texts = await asyncio.gather(*(text(client, call(p)) for p in prompts))
    assert texts == [expected(p, 8) for p in prompts]


async def test_describe_and_probe(client: EngineClient) -> None:
    """What /v1/models and /health are made of."""
    info = await client.describe()
    assert (info.name, info.ready, info.max_context, info.world_size) == (
        "adding",
        True,
        CONTEXT,
        1,
    )
    assert await client.probe() >= 0.0


async def test_bad_requests_are_named(client: EngineClient) -> None:
    """The message must say what to change."""
    with pytest.raises(InvalidRequest, match="token id 5000 is outside the vocabulary"):
        await text(client, call((5000,)))
    with pytest.raises(InvalidRequest, match="the context holds 100000"):
        await text(client, call((1,) * CONTEXT))
    with pytest.raises(InvalidRequest, match="no tokens"):
        await text(client, call(()))


async def test_nobody_there_is_told_at_once() -> None:
    """A cluster that never was up answers 503, not silence."""
    [port] = free_ports(1)
    client = EngineClient("127.0.0.1", port)
    with pytest.raises(NotReady, match=f"does not answer at 127.0.0.1:{port}"):
        await text(client, call())
    with pytest.raises(NotReady):
        await client.describe()
    with pytest.raises(NotReady):
        await client.probe()
    await client.close()


async def test_answer_goes_on_after_the_loss_of_rank_0() -> None:
    """No token lost, none doubled, through two deaths of the worker."""
    server = EngineServer()
    client = EngineClient("127.0.0.1", server.port)
    tokens: list[int] = []
    async for batch in generate(client, call(count=300)):
        tokens += [t.token for t in batch.tokens]
        if len(tokens) in {20, 120}:
            await asyncio.to_thread(server.stop)
            server = await asyncio.to_thread(EngineServer, server.port)
    assert tokens == expected((1, 2, 3), 300)
    await client.close()
    await asyncio.to_thread(server.stop)


async def test_requests_wait_for_a_lost_rank_0_within_limits() -> None:
    """Clients see a pause, and after the limit an error, never silence."""
    gate = threading.Event()
    server = EngineServer(gate=gate)
    client = EngineClient("127.0.0.1", server.port, recovery_timeout_s=0.3)
    await client.describe()
    answer = asyncio.create_task(text(client, call()))
    await asyncio.to_thread(server.stop)
    with pytest.raises(NotReady):
        await asyncio.wait_for(answer, 10)
    await client.close()


async def test_a_request_that_kills_rank_0_every_time_is_given_up() -> None:
    """Everybody else waits while it does."""
    server = EngineServer()
    client = EngineClient("127.0.0.1", server.port)
    await client.describe()
    # A prompt that takes seconds: no token comes before the next loss.
    answer = asyncio.create_task(text(client, call(prompt=(1,) * (CONTEXT - 100))))
    for number in range(4 * MOST_LOSSES):  # some die before the client hears of the session
        await until(lambda held=server: held.sequences_held > 0 or answer.done())
        if answer.done():
            break
        await asyncio.to_thread(server.stop)
        server = await asyncio.to_thread(EngineServer, server.port)
        assert number >= MOST_LOSSES - 1 or not answer.done()
    with pytest.raises(StepFailed, match="given up: rank 0 was lost 8 times in a row"):
        await asyncio.wait_for(answer, 10)
    await client.close()
    await asyncio.to_thread(server.stop)


async def test_a_rank_0_that_reads_its_model_is_waited_for_and_blames_nobody() -> None:
    """It refuses sessions many times over; those are no losses, and the wait has its limit."""
    server = EngineServer()
    client = EngineClient("127.0.0.1", server.port, recovery_timeout_s=1.5)
    await client.describe()
    answer = asyncio.create_task(text(client, call(count=CONTEXT // 2)))
    await until(lambda: server.sequences_held > 0)
    await asyncio.to_thread(server.stop)
    reading = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    reading.add_generic_rpc_handlers((handlers(EngineService(lambda: None)),))
    assert reading.add_insecure_port(f"127.0.0.1:{server.port}") == server.port
    reading.start()
    with pytest.raises(NotReady, match="still reading the model"):
        await asyncio.wait_for(answer, 10)
    await client.close()
    await asyncio.to_thread(reading.stop(None).wait, 5)


async def test_leaving_frees_the_sequence() -> None:
    """A client that leaves must not hold memory on any rank."""
    server = EngineServer()
    client = EngineClient("127.0.0.1", server.port)
    stream = generate(client, call(count=CONTEXT // 2))
    await anext(stream)
    assert server.sequences_held == 1
    await stream.aclose()
    await server.wait_until_free()
    await client.close()
    await asyncio.to_thread(server.stop)


async def test_end_of_a_session_frees_its_sequences() -> None:
    """An API process that dies leaves nothing behind on the ranks."""
    server = EngineServer()
    client = EngineClient("127.0.0.1", server.port)
    stream = generate(client, call(count=CONTEXT // 2))
    await anext(stream)
    await client.close()
    await server.wait_until_free()
    with pytest.raises(NotReady, match="shutting down"):
        _ = [batch async for batch in stream]
    await asyncio.to_thread(server.stop)


async def test_a_reader_may_leave_all_its_sequences_when_one_fails() -> None:
    """The choices of one request end together; each is told once at most."""
    server = EngineServer()
    client = EngineClient("127.0.0.1", server.port)
    leaves: list[Callable[[], None]] = []
    errors: list[ClusterError] = []

    def deliver(batch: TokenBatch | ClusterError) -> None:
        if isinstance(batch, ClusterError):
            errors.append(batch)
            for leave in leaves:
                leave()

    leaves += [client.submit(call(count=CONTEXT // 2), deliver) for _ in range(3)]
    await until(lambda: server.sequences_held == 3)
    await client.close()
    assert [type(error) for error in errors] == [NotReady]
    await asyncio.to_thread(server.stop)


def test_no_sampling_parameter_is_lost_on_the_way() -> None:
    """Dnet loses them between two shards; every field must differ from its default and arrive."""
    sampling = SamplingParams(
        temperature=0.5,
        top_p=0.25,
        top_k=40,
        min_p=0.125,
        seed=2**63 + 1,
        presence_penalty=1.5,
        frequency_penalty=-0.5,
        repetition_penalty=1.25,
        logit_bias=((5, -100.0), (7, 2.5)),
        logprobs=True,
        top_logprobs=20,
        grammar='start: "a"',
        prompt_logprobs=True,
    )
    default = SamplingParams()
    for field in dataclasses.fields(SamplingParams):
        assert getattr(sampling, field.name) != getattr(default, field.name)
    request = pb.GenerateRequest(prompt_ids=[1], sampling=sampling_to_proto(sampling))
    assert call_from_proto(request).sampling == sampling
