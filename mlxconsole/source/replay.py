"""Plays a recording: a `Source` whose clock is the recording's, slower, faster or standing still.

Runs in the event loop of its user. What was skipped is handed on too, only faster: the store's
past is complete whatever the operator jumped over.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from daemon.errors import NotReady, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlxconsole.cluster import Cluster
    from mlxconsole.source.base import Action, Sink, Update
    from protos.control_pb2 import TraceStep

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
TICK_S = 0.05
HURRY_S = 0.5
"""While skipping, so much of the recording is handed on between two looks at the screen."""


class Playback:
    """Where a recording stands: its clock, and the keys that move it."""

    def __init__(
        self,
        start_s: float,
        end_s: float,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.start_s, self.end_s = start_s, end_s
        self.speed = speed
        self.paused = False
        self.position_s = start_s
        """Second of the recording that the screen has reached; the store's clock."""
        self.wanted_s = start_s
        """Where an operator who skipped wants to be; behind the position if nobody did."""
        self._clock = clock
        self._looked_s = clock()

    def advance(self) -> float:
        """Let the time since the last look pass; the new position."""
        now_s = self._clock()
        step_s = (now_s - self._looked_s) * (0.0 if self.paused else self.speed)
        self._looked_s = now_s
        if self.hurrying:
            step_s = max(step_s, min(HURRY_S, self.wanted_s - self.position_s))
        self.position_s = min(self.position_s + step_s, self.end_s)
        return self.position_s

    @property
    def hurrying(self) -> bool:
        """Whether it is on its way to where the operator skipped to."""
        return self.position_s < self.wanted_s

    @property
    def over(self) -> bool:
        """Whether everything has been played."""
        return self.position_s >= self.end_s

    def skip(self, seconds: float) -> None:
        """Go on ``seconds`` further at once; the way back is the console's rewind."""
        self.wanted_s = min(max(self.wanted_s, self.position_s) + seconds, self.end_s)

    def change_speed(self, steps: int) -> None:
        """The next faster (1) or slower (-1) of the speeds."""
        nearest = min(range(len(SPEEDS)), key=lambda n: abs(SPEEDS[n] - self.speed))
        self.speed = SPEEDS[max(0, min(nearest + steps, len(SPEEDS) - 1))]

    def words(self) -> str:
        """As the header shows it: ``REPLAY 0:41/5:00 x2``."""
        state = "paused" if self.paused else "end" if self.over else f"x{self.speed:g}"
        at, length = self.position_s - self.start_s, self.end_s - self.start_s
        return f"REPLAY {_minutes(at)}/{_minutes(length)} {state}"


class ReplaySource:
    """A `Source` over the updates of a recording."""

    def __init__(self, cluster: Cluster, updates: Iterator[Update], playback: Playback) -> None:
        self._cluster = cluster
        self._updates = updates
        self.playback = playback
        self.read_only = True
        """See `Source.read_only`."""

    @property
    def cluster(self) -> Cluster:
        """See `Source.cluster`."""
        return self._cluster

    async def follow(self, sink: Sink) -> None:
        """Play; at the end it stays, for an operator who looks back."""
        playback, coming = self.playback, next(self._updates, None)
        while True:
            position_s = playback.advance()
            while coming is not None and coming.at_s <= position_s:
                sink(coming)
                coming = next(self._updates, None)
            await asyncio.sleep(0 if playback.hurrying else TICK_S)

    async def act(self, action: Action) -> str:
        """See `Source.act`.

        Raises:
            SettingsError: always; what is over can't be changed.
        """
        raise SettingsError(f"this is a recording: no {action.name} of rank {action.rank} in it")

    async def trace(self, rank: int, sequence: int) -> list[TraceStep]:
        """See `Source.trace`: steps are asked for live, not recorded."""
        raise NotReady(f"this is a recording: rank {rank} can't be asked for {sequence}'s steps")


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
