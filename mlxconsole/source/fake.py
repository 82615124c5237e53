"""A source that tests and pictures drive by hand; no network, same loop as the app."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mlxconsole.source.base import ContactLost, FrameArrived

if TYPE_CHECKING:
    from mlxconsole.cluster import Cluster
    from mlxconsole.source.base import Action, Sink, Update
    from protos.control_pb2 import TraceStep, WatchFrame


class FakeSource:
    """Hands out what `show` and `lose` were told, and records the actions it was asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.acts: list[Action] = []
        """Every action that was asked for, refused ones too."""
        self.traces: dict[int, list[TraceStep]] = {}
        """What `trace` answers, by rank."""
        self.read_only = False
        """See `Source.read_only`."""
        self.refusal: Exception | None = None
        """Raised by `act` when set."""
        self._updates: asyncio.Queue[Update] = asyncio.Queue(maxsize=10_000)

    def show(self, rank: int, frame: WatchFrame) -> None:
        """Let ``rank`` send a frame."""
        self._updates.put_nowait(FrameArrived(rank, frame, time.monotonic()))

    def lose(self, rank: int, reason: str) -> None:
        """Let the contact to ``rank`` break."""
        self._updates.put_nowait(ContactLost(rank, reason, time.monotonic()))

    async def follow(self, sink: Sink) -> None:
        """See `Source.follow`."""
        while True:
            sink(await self._updates.get())

    async def act(self, action: Action) -> str:
        """See `Source.act`."""
        self.acts.append(action)
        if self.refusal:
            raise self.refusal
        return f"rank {action.rank}: {action.name} begins"

    async def trace(self, rank: int, sequence: int) -> list[TraceStep]:
        """See `Source.trace`."""
        steps = self.traces.get(rank, [])
        return [s for s in steps if not sequence or sequence in s.sequences]
