"""What the supervisors tell while a cluster is being broken. Event loop only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import ClusterError

if TYPE_CHECKING:
    from mlxconsole.chaos.victim import Victim

RETRY_S = 0.1


@dataclass(frozen=True)
class Entry:
    """One event of one rank."""

    time_s: float
    """Unix time."""
    rank: int
    kind: str
    text: str


class Journal:
    """Follows every rank until closed, across deaths of its supervisor."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._entries: dict[tuple[int, int, int], Entry] = {}
        self._tasks = [
            asyncio.create_task(self._follow(rank), name=f"journal-{rank}")
            for rank in range(victim.world_size)
        ]

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def since(self, time_s: float) -> list[Entry]:
        """Events from then on, in the order of their times."""
        found = [entry for entry in self._entries.values() if entry.time_s >= time_s]
        return sorted(found, key=lambda entry: entry.time_s)

    async def _follow(self, rank: int) -> None:
        while True:
            try:
                async for frame in self._victim.client(rank).watch():
                    for event in frame.events:
                        key = (rank, frame.status.supervisor_pid, event.sequence)
                        entry = Entry(event.time_s, rank, event.kind, event.text)
                        self._entries[key] = entry
            except ClusterError:
                pass  # its supervisor is dead, or hard at work
            await asyncio.sleep(RETRY_S)
