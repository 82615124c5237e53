"""What a source of console data is: updates by rank, and the actions that go back.

No textual, no grpc: the store and the screens know this interface only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlxconsole.cluster import Cluster
    from protos.control_pb2 import WatchFrame


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

    async def restart(self, rank: int, generation: int) -> str:
        """Restart a rank that is still in ``generation``; what the rank answers, in words.

        Raises:
            StaleGeneration: the rank has been restarted since.
            NotReady: the rank can't be reached.
        """
        ...
