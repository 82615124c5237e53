"""What a source of console data is: updates by rank, and the actions that go back.

No textual, no grpc: the store and the screens know this interface only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from mlxconsole.cluster import Cluster
    from protos.control_pb2 import TraceStep, WatchFrame


@dataclass(frozen=True, slots=True)
class FrameArrived:
    """A rank said something; contact with it is live."""

    rank: int
    frame: WatchFrame
    at_s: float
    """`time.monotonic` of the console."""


@dataclass(frozen=True, slots=True)
class ContactLost:
    """The rank's supervisor can't be reached; the source goes on trying."""

    rank: int
    reason: str
    at_s: float


Update = FrameArrived | ContactLost
Sink = Callable[[Update], None]


ActionName = Literal["restart", "drain", "undrain", "kill", "cancel"]


@dataclass(frozen=True, slots=True)
class Action:
    """What an operator wants to happen to a rank as he saw it."""

    name: ActionName
    rank: int
    generation: int
    drain_timeout_s: float = 0.0
    """Of a restart: drain first, for so long at most."""
    request_id: str = ""
    """Of a cancel."""


class Source(Protocol):
    """Follows every rank of one cluster, in the event loop that runs `follow`."""

    @property
    def cluster(self) -> Cluster:
        """The ranks that `follow` reports on."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether every action will be refused: the screen does not offer any then."""
        ...

    async def follow(self, sink: Sink) -> None:
        """Give ``sink`` every update, until cancelled."""
        ...

    async def act(self, action: Action) -> str:
        """Do something to a rank that is still in the action's generation; its answer, in words.

        Raises:
            StaleGeneration: the rank has been restarted since.
            NotReady: the rank can't be reached.
        """
        ...

    async def trace(self, rank: int, sequence: int) -> list[TraceStep]:
        """The last steps of a rank, of one sequence if not 0. Raises NotReady."""
        ...
