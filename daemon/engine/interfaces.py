"""What the engine needs from the outside, and the events that reach its thread.

The worker provides the implementations (comm, execution, telemetry); tests provide small fakes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.engine.sequences import Listener, Sequence
    from daemon.messages import Step


class Shard(Protocol):
    """This rank's layers. Every call is made on the engine thread."""

    def assign(self, lo: int, hi: int) -> None:
        """Hold layers [lo, hi), reading them unless they are held already, and no sequence.

        Raises:
            ModelError: the layers can't be read.
        """
        ...

    def run(self, step: Step, hidden: Any) -> Any:
        """Apply a step; the boundary values for the next rank, or on the last rank the tokens."""
        ...


class Wire(Protocol):
    """Sends values of `daemon.messages` to other ranks, exactly once and in order."""

    def send(self, dst: int, value: Any) -> None:
        """Queue ``value``. Raises CommError."""
        ...


class Report(Protocol):
    """Tells the supervisor, and with it the console, what happens. Never blocks or raises."""

    def state(self, state: str, reason: str = "") -> None:
        """The rank's state changed."""
        ...

    def event(self, kind: str, text: str) -> None:
        """Something worth remembering happened."""
        ...


@dataclass(frozen=True, slots=True)
class Received:
    """A value from another rank, still encoded: it is opened on the engine thread."""

    source: int
    open: Callable[[], Any]
    at_s: float = 0.0
    """When it was read off the link; monotonic."""


@dataclass(frozen=True, slots=True)
class PeerChange:
    """The link to a rank came up, or the rank is lost."""

    rank: int
    up: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Submit:
    """A client's request."""

    sequence: Sequence


@dataclass(frozen=True, slots=True)
class Cancel:
    """A client does not want the rest; ``request_id`` None means all of its requests."""

    listener: Listener
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Somebody wants to know whether steps go through all ranks."""

    done: Callable[[Exception | None], None] = field(repr=False)
    """Called once on the engine thread; must not block."""


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """The operator takes this rank out of work, or lets it work again."""

    on: bool


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """The operator ends a request, by its id or by the part before the slash."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave the loop."""


Event = Received | PeerChange | Submit | Cancel | Probe | DrainOrder | CancelOrder | Stop
