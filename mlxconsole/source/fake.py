"""A source that tests and pictures drive by hand; no network, same loop as the app."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mlxconsole.source.base import ContactLost, FrameArrived

if TYPE_CHECKING:
    from mlxconsole.cluster import Cluster
    from mlxconsole.source.base import Sink, Update
    from protos.control_pb2 import WatchFrame


class FakeSource:
    """Hands out what `show` and `lose` were told, and records the actions it was asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.restarts: list[tuple[int, int]] = []
        """(rank, generation) of every restart, refused ones too."""
        self.read_only = False
        """See `Source.read_only`."""
        self.refusal: Exception | None = None
        """Raised by `restart` when set."""
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

    async def restart(self, rank: int, generation: int) -> str:
        """See `Source.restart`."""
        self.restarts.append((rank, generation))
        if self.refusal:
            raise self.refusal
        return f"rank {rank} restarts"
