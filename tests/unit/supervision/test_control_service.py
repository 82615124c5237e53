"""The Control service and its client against each other, over loopback, without children."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from daemon.client.control import ControlClient
from daemon.errors import (
    ClusterError,
    InvalidRequest,
    NotAllowed,
    NotReady,
    PortInUse,
    QueueFull,
    StaleGeneration,
)
from daemon.supervision import control_service
from daemon.supervision.control_service import ControlService
from daemon.supervision.history import LOG_LINES, History
from protos import control_pb2
from tests.support.ports import free_ports
from tests.unit.supervision.harness import LIMIT_S, eventually, make_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


TOKEN = "0123456789abcdef"  # noqa: S105 - made up


class FakeSupervisor:
    """Remembers what it was asked, or fails."""

    def __init__(self, error: ClusterError | None = None) -> None:
        self.history = History()
        self.closing = asyncio.Event()
        self.asked: list[tuple[object, ...]] = []
        self.rank = 1
        rows = [control_pb2.RequestStatus(id="req_1", state="decode")]
        self.table: control_pb2.RequestTable | None = control_pb2.RequestTable(rows=rows, total=1)
        self._error = error

    def status(self) -> control_pb2.RankStatus:
        """A rank that is READY."""
        return control_pb2.RankStatus(
            rank=self.rank, state=control_pb2.READY, generation=4, worker_pid=7
        )

    def requests(self) -> control_pb2.RequestTable | None:
        """One, as on rank 0."""
        return self.table

    async def trace(self, sequence: int, most_steps: int) -> list[control_pb2.TraceStep]:
        """One step, or fail."""
        if self._error is not None:
            raise self._error
        self.asked.append(("trace", sequence, most_steps))
        return [control_pb2.TraceStep(number=7, sequences=[sequence])]

    def restart(self, generation: int, drain_timeout_s: float, reason: str) -> int:
        """Remember, or fail."""
        if self._error is not None:
            raise self._error
        self.asked.append(("restart", generation, drain_timeout_s, reason))
        return generation + 1

    def order(self, name: str, generation: int, reason: str, **details: str) -> None:
        """Remember, or fail."""
        if self._error is not None:
            raise self._error
        self.asked.append((name, generation, reason.rpartition(" ")[2], *details.values()))

    def kill(self, generation: int, reason: str) -> int:
        """Remember, or fail."""
        self.order("kill", generation, reason)
        return generation + 1

    def shutdown(self, grace_s: float, reason: str) -> None:
        """Remember."""
        self.asked.append(("shutdown", grace_s, reason))


@asynccontextmanager
async def served(
    supervisor: FakeSupervisor, wanted: str = "", carried: str = ""
) -> AsyncGenerator[ControlClient]:
    """A client of a server of ``supervisor``, with the tokens that each of them has."""
    [port] = free_ports(1)
    service = ControlService(supervisor, make_settings(ranks=2), wanted)
    server = await control_service.serve(service, "127.0.0.1", port, "rank 1 control_port")
    try:
        async with ControlClient("127.0.0.1", port, carried) as client:
            yield client
    finally:
        await server.stop(None)


async def test_actions_arrive_with_who_asked_and_why() -> None:
    """The log of a rank is its audit."""
    supervisor = FakeSupervisor()
    async with served(supervisor) as client:
        reply = await client.restart(4, drain_timeout_s=2.5, reason="new weights")
        assert reply.generation == 5
        await client.restart(4, drain_timeout_s=-1)
        await client.shutdown(grace_s=1.5)
        assert (await client.get_status()).rank == 1
        assert len((await client.get_cluster()).members) == 2
    (_, generation, drain_s, reason), (_, _, none_s, unnamed), (_, grace_s, _) = supervisor.asked
    assert (generation, drain_s, none_s, grace_s) == (4, 2.5, 0.0, 1.5)
    assert reason == "restarted by 127.0.0.1: new weights"
    assert "no reason given" in str(unnamed)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (StaleGeneration("generation 5"), StaleGeneration),
        (InvalidRequest("no"), InvalidRequest),
        (QueueFull("later"), QueueFull),
        (NotReady("rank 1 is shutting down"), NotReady),
        (ClusterError("odd"), ClusterError),
    ],
)
async def test_errors_cross_the_wire(error: ClusterError, raised: type[ClusterError]) -> None:
    """With their words."""
    async with served(FakeSupervisor(error)) as client:
        with pytest.raises(raised, match=str(error)):
            await client.restart(1)


@pytest.mark.parametrize("carried", ["", "another token!!!!"])
async def test_without_the_operators_token_one_may_only_watch(carried: str) -> None:
    """Whatever console it is: the daemon decides."""
    supervisor = FakeSupervisor()
    supervisor.rank = 0
    async with served(supervisor, TOKEN, carried) as client:
        for call in (
            client.restart(4),
            client.act("drain", 4),
            client.act("undrain", 4),
            client.act("kill", 4),
            client.cancel("req_1", 4),
            client.shutdown(),
        ):
            with pytest.raises(NotAllowed, match="MLXCONSOLE_OPERATOR_TOKEN"):
                await call
        assert (await client.get_status()).generation == 4
        assert (await client.trace(3))[0].number == 7
    assert supervisor.asked == [("trace", 3, 0)]


async def test_the_operators_token_opens_all_actions() -> None:
    """As without one on the daemon's own machine."""
    supervisor = FakeSupervisor()
    async with served(supervisor, TOKEN, TOKEN) as client:
        await client.act("drain", 4)
        await client.shutdown()
    assert [asked[0] for asked in supervisor.asked] == ["drain", "shutdown"]


@pytest.mark.parametrize("call", ["get_status", "get_cluster", "shutdown", "watch"])
async def test_where_nobody_listens(call: str) -> None:
    """At once, not after a deadline."""
    [port] = free_ports(1)
    async with ControlClient("127.0.0.1", port) as client, asyncio.timeout(LIMIT_S):
        frames = client.watch()
        asked = anext(frames) if call == "watch" else getattr(client, call)()
        with pytest.raises(NotReady, match=f"no daemon answers at 127.0.0.1:{port}"):
            await asked


async def test_a_supervisor_that_starts_late_is_found() -> None:
    """A client that was refused may try again at once."""
    supervisor = FakeSupervisor()
    [port] = free_ports(1)
    async with ControlClient("127.0.0.1", port) as client:
        with pytest.raises(NotReady):
            await client.get_status()
        service = ControlService(supervisor, make_settings())
        server = await control_service.serve(service, "127.0.0.1", port, "control_port")
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    await client.get_status()
                    break
                except NotReady:
                    await asyncio.sleep(0.02)
        await server.stop(None)


async def test_every_reader_gets_every_line_once() -> None:
    """Any number of consoles; one that joins later begins with the history it wants."""
    supervisor = FakeSupervisor()
    supervisor.history.log("INFO", "worker", "0")

    async def read(client: ControlClient, until: str) -> list[str]:
        seen: list[str] = []
        async for frame in client.watch(history_lines=10):
            seen += [line.event for line in frame.logs]
            if until in seen:
                break
        return seen

    async with served(supervisor) as client, asyncio.timeout(LIMIT_S):
        readers = [asyncio.create_task(read(client, "20")) for _ in range(5)]
        await eventually(lambda: supervisor.history.readers == 5)
        for number in range(1, 21):
            supervisor.history.log("INFO", "worker", str(number))
        expected = [str(number) for number in range(21)]
        assert await asyncio.gather(*readers) == [expected] * 5
        assert await read(client, "20") == expected[11:]


async def test_a_reader_that_goes_is_forgotten() -> None:
    """A console that was closed must cost nothing."""
    supervisor = FakeSupervisor()
    async with served(supervisor) as client, asyncio.timeout(LIMIT_S):
        frames = client.watch()
        await anext(frames)
        assert supervisor.history.readers == 1
        await frames.aclose()
        await eventually(lambda: supervisor.history.readers == 0)


async def test_a_reader_that_does_not_read_loses_lines_and_is_told() -> None:
    """The bound is per reader: what the wire holds, and one ring."""
    supervisor = FakeSupervisor()
    async with served(supervisor) as client, asyncio.timeout(LIMIT_S):
        frames = client.watch()
        await anext(frames)
        for burst in range(12):
            for number in range(LOG_LINES):
                supervisor.history.log("INFO", "worker", f"{burst} {number} " + "x" * 2_000)
            await asyncio.sleep(0)
        supervisor.history.log("INFO", "worker", "the end")
        supervisor.closing.set()
        sequences: list[int] = []
        dropped = 0
        async for frame in frames:
            sequences += [line.sequence for line in frame.logs]
            dropped += frame.dropped
        assert dropped > 0
        assert sequences == sorted(sequences)
        assert len(sequences) + dropped == 12 * LOG_LINES + 1


async def test_a_control_port_that_is_taken() -> None:
    """A second server does not share it in silence."""
    supervisor = FakeSupervisor()
    async with served(supervisor) as client:
        port = int(client.address.rsplit(":", 1)[1])
        service = ControlService(supervisor, make_settings())
        with pytest.raises(PortInUse, match=f"control_port 127.0.0.1:{port} is taken"):
            await control_service.serve(service, "127.0.0.1", port, "rank 1 control_port")


@pytest.mark.parametrize("bound", [0, None])
async def test_a_control_port_that_is_lost_in_the_last_moment(
    bound: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look and gRPC's bind; gRPC has told it in two ways over the years."""

    class Server:
        def add_generic_rpc_handlers(self, *_: object) -> None: ...

        add_registered_method_handlers = add_generic_rpc_handlers

        def add_insecure_port(self, address: str) -> int:
            if bound is None:
                raise RuntimeError(address)
            return bound

    monkeypatch.setattr(grpc.aio, "server", lambda **_: Server())
    service = ControlService(FakeSupervisor(), make_settings())
    with pytest.raises(PortInUse):
        await control_service.serve(service, "127.0.0.1", free_ports(1)[0], "control_port")


def test_ipv6_addresses_stand_in_brackets() -> None:
    """As everywhere."""

    async def address() -> str:
        async with ControlClient("::1", 5) as client:
            return client.address

    assert asyncio.run(address()) == "[::1]:5"


async def test_a_trace_is_what_the_worker_tells() -> None:
    """The waterfall of a request: steps of its sequence only."""
    supervisor = FakeSupervisor()
    async with served(supervisor) as client:
        (step,) = await client.trace(sequence=3, most_steps=20)
    assert (step.number, list(step.sequences)) == (7, [3])
    assert supervisor.asked == [("trace", 3, 20)]


async def test_without_a_worker_there_is_no_trace() -> None:
    """A dead worker has no last steps; the caller is told why."""
    async with served(FakeSupervisor(NotReady("no worker"))) as client:
        with pytest.raises(NotReady):
            await client.trace()


async def test_a_frame_brings_the_requests_and_the_time_of_the_rank() -> None:
    """The console shows live requests, and how far the rank's clock is off."""
    async with served(FakeSupervisor()) as client:
        async for frame in client.watch():
            assert [row.id for row in frame.requests.rows] == ["req_1"]
            assert frame.time_s == pytest.approx(time.time(), abs=60)
            break


async def test_orders_reach_the_supervisor_with_their_generation() -> None:
    """Drain, undrain, kill and cancel are refused or carried out there, not on the way."""
    supervisor = FakeSupervisor()
    supervisor.rank = 0
    async with served(supervisor) as client:
        for action in ("drain", "undrain", "kill"):
            reply = await client.act(action, 4, "test")
            assert reply.generation == (5 if action == "kill" else 4)
        await client.cancel("req_1", 4, "test")
    assert supervisor.asked == [
        ("drain", 4, "test"),
        ("undrain", 4, "test"),
        ("kill", 4, "test"),
        ("cancel", 4, "test", "req_1"),
    ]


async def test_requests_are_cancelled_on_rank_0_only() -> None:
    """Other ranks don't know requests."""
    async with served(FakeSupervisor()) as client:
        with pytest.raises(InvalidRequest):
            await client.cancel("req_1", 4)


@pytest.mark.parametrize("request_id", ["nope", "", "req_1/0"])
async def test_a_request_that_does_not_run_is_not_said_to_be_cancelled(request_id: str) -> None:
    """A typo must not look like success."""
    supervisor = FakeSupervisor()
    supervisor.rank = 0
    async with served(supervisor) as client:
        with pytest.raises(InvalidRequest, match=f"no request '{request_id}' runs"):
            await client.cancel(request_id, 4)
    assert supervisor.asked == []


async def test_a_request_of_a_moment_ago_is_waited_for() -> None:
    """The table comes four times a second, a long one once; its choices have its name, too."""
    supervisor = FakeSupervisor()
    supervisor.rank, supervisor.table = 0, None
    rows = [control_pb2.RequestStatus(id="req_2/0"), control_pb2.RequestStatus(id="req_2/1")]
    later = control_pb2.RequestTable(rows=rows, total=2)
    asyncio.get_running_loop().call_later(0.1, setattr, supervisor, "table", later)
    async with served(supervisor) as client:
        await client.cancel("req_2", 4, "test")
    assert supervisor.asked == [("cancel", 4, "test", "req_2")]


async def test_what_a_table_has_no_room_for_may_run() -> None:
    """It names 256 requests at most."""
    supervisor = FakeSupervisor()
    supervisor.rank, supervisor.table = 0, control_pb2.RequestTable(total=300)
    async with served(supervisor) as client:
        await client.cancel("req_9", 4, "test")
    assert [asked[0] for asked in supervisor.asked] == ["cancel"]


@pytest.mark.parametrize("action", ["drain", "undrain", "kill"])
async def test_a_stale_order_is_refused(action: str) -> None:
    """What was decided on an old picture must not happen to a new worker."""
    async with served(FakeSupervisor(StaleGeneration("generation 5, not 4"))) as client:
        with pytest.raises(StaleGeneration):
            await client.act(action, 4)
