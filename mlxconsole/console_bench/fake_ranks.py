"""Ranks that only talk: real control servers which send a frame of counters and lines at 4 Hz.

As a program: `python -m mlxconsole.console_bench.fake_ranks RANKS LINES_PER_S` prints the cluster
as JSON and serves until its standard input ends. Its CPU is not the console's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc.aio

from mlxconsole.source import seeded
from protos import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRAME_S = 0.25
POOL = 2_000
"""Different lines of a rank, sent round and round."""


class TalkingRank(control_pb2_grpc.ControlServicer):
    """One rank's control service, as far as a console watches it."""

    def __init__(self, rank: int, ranks: int, lines_per_s: int) -> None:
        self._status = seeded.status(rank, ranks)
        self._lines = list(seeded.log_lines(rank, POOL))
        self._each = round(lines_per_s * FRAME_S)

    async def Watch(  # noqa: N802  named by control.proto
        self, request: control_pb2.WatchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[control_pb2.WatchFrame]:
        """A frame every 250 ms."""
        del request, context
        start_s = asyncio.get_running_loop().time()
        for number in count():
            yield self._frame(number)
            due_s = start_s + (number + 1) * FRAME_S
            await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))

    def _frame(self, number: int) -> control_pb2.WatchFrame:
        status, counters = self._status, self._status.counters
        steps = 10 + (number * 7 + status.rank) % 5
        counters.steps += steps
        counters.tokens_out += 4 * steps
        counters.tokens_in += steps
        counters.compute_s += 0.012 * steps
        counters.wall_s += FRAME_S
        status.uptime_s += FRAME_S
        status.memory.kv_bytes += 70_000 * (number % 9)
        frame = control_pb2.WatchFrame(status=status)
        for at in range(number * self._each, (number + 1) * self._each):
            line = frame.logs.add()
            line.CopyFrom(self._lines[at % POOL])
            line.sequence = at
            line.time_s = seeded.START_TIME_S + at / (4 * self._each or 1)
        return frame


async def serve(ranks: int, lines_per_s: int) -> None:
    """Serve until nobody holds our standard input."""
    servers: list[grpc.aio.Server] = []
    cluster, members = seeded.cluster(ranks), []
    for member in cluster.members:
        server = grpc.aio.server()
        talking = TalkingRank(member.rank, ranks, lines_per_s)  # pyright: ignore[reportAbstractUsage]
        control_pb2_grpc.add_ControlServicer_to_server(talking, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        members.append(replace(member, control_port=port))
    sys.stdout.write(json.dumps(asdict(replace(cluster, members=tuple(members)))) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
