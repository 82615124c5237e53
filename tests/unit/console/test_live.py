"""The live source on real gRPC servers: it ends when told to, whatever arrives at that moment."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from daemon.supervision.control_service import ControlService
from mlxconsole.cluster import Cluster, Member
from mlxconsole.source import seeded
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.live import LiveSource
from protos import control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from mlxconsole.source.base import Update
    from protos.control_pb2 import WatchFrame

RANKS = 2
ROUNDS = 20
LIMIT_S = 20.0


class Chatty(ControlService):
    """A rank that reports without a pause: some frame is always about to arrive."""

    async def Watch(  # noqa: N802 - as in the service
        self, request: Any, context: Any
    ) -> AsyncIterator[WatchFrame]:
        """See the service."""
        del request, context
        while True:
            yield seeded.frame(seeded.status(0, RANKS))
            await asyncio.sleep(0)


@asynccontextmanager
async def chatty_cluster() -> AsyncGenerator[Cluster]:
    """Ranks that report without a pause."""
    nobody: Any = None
    servers = [grpc.aio.server() for _ in range(RANKS)]
    members: list[Member] = []
    for rank, server in enumerate(servers):
        control_pb2_grpc.add_ControlServicer_to_server(Chatty(nobody, nobody), server)
        port = server.add_insecure_port("127.0.0.1:0")
        members.append(Member(rank, "127.0.0.1", 0, port))
        await server.start()
    try:
        yield Cluster("test", "demo", "http://127.0.0.1:1", tuple(members))
    finally:
        for server in servers:
            await server.stop(None)


@pytest.mark.parametrize("frames", range(2, 2 + ROUNDS))
async def test_following_ends_when_a_frame_arrives_with_the_order_to_end(frames: int) -> None:
    """Python 3.11's `asyncio.wait_for` forgets such an order; `up` then hung."""
    enough, seen = asyncio.Event(), 0

    def sink(update: Update) -> None:
        nonlocal seen
        seen += isinstance(update, FrameArrived)
        if seen >= frames:
            enough.set()

    async with chatty_cluster() as cluster:
        following = asyncio.create_task(LiveSource(cluster).follow(sink))
        async with asyncio.timeout(LIMIT_S):
            await enough.wait()
        following.cancel()
        await asyncio.wait([following], timeout=LIMIT_S)
        assert following.cancelled()
