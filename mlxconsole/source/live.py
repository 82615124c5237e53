"""Follows the real ranks: one task per rank, which reconnects for ever.

Runs in the event loop of its user; the client library does the talking.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from daemon.client.control import ControlClient
from daemon.errors import ClusterError
from mlxconsole.source.backoff import FIRST_S, MOST_S, Backoff
from mlxconsole.source.base import ContactLost, FrameArrived

if TYPE_CHECKING:
    from mlxconsole.cluster import Cluster, Member
    from mlxconsole.source.base import Action, Sink
    from protos.control_pb2 import TraceStep

HISTORY_LINES = 500
REASON = "asked for by the console"


class LiveSource:
    """A `Source` over the control ports of a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        first_retry_s: float = FIRST_S,
        most_retry_s: float = MOST_S,
        history_lines: int = HISTORY_LINES,
    ) -> None:
        self._cluster = cluster
        self._history_lines = history_lines
        self.read_only = False
        """See `Source.read_only`."""
        self._retry_s = (first_retry_s, most_retry_s)

    @property
    def cluster(self) -> Cluster:
        """See `Source.cluster`."""
        return self._cluster

    async def follow(self, sink: Sink) -> None:
        """See `Source.follow`."""
        async with asyncio.TaskGroup() as group:
            for member in self._cluster.members:
                group.create_task(self._follow_rank(member, sink), name=f"rank {member.rank}")

    async def act(self, action: Action) -> str:
        """See `Source.act`."""
        async with self._client(action.rank) as client:
            if action.name == "restart":
                reply = await client.restart(action.generation, action.drain_timeout_s, REASON)
            elif action.name == "cancel":
                reply = await client.cancel(action.request_id, action.generation, REASON)
            else:
                reply = await client.act(action.name, action.generation, REASON)
        return reply.message

    async def trace(self, rank: int, sequence: int) -> list[TraceStep]:
        """See `Source.trace`."""
        async with self._client(rank) as client:
            return await client.trace(sequence)

    def _client(self, rank: int) -> ControlClient:
        member = next(m for m in self._cluster.members if m.rank == rank)
        return ControlClient(member.host, member.control_port)

    async def _follow_rank(self, member: Member, sink: Sink) -> None:
        backoff = Backoff(*self._retry_s)
        while True:
            reason = "the stream ended"
            try:
                async with ControlClient(member.host, member.control_port) as client:
                    async for frame in client.watch(history_lines=self._history_lines):
                        backoff.reset()
                        sink(FrameArrived(member.rank, frame, time.monotonic()))
            except ClusterError as error:
                reason = str(error)
            sink(ContactLost(member.rank, reason, time.monotonic()))
            await asyncio.sleep(backoff.next_s())
