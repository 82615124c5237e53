"""Every error that this project raises on purpose, in one tree.

    ClusterError
    |-- SettingsError            a flag, variable or cluster.toml key is wrong
    |-- PortInUse                somebody else listens where we must
    |-- StartFailed              a cluster can't be started or did not become ready
    |-- ModelError               the model can't be found, read, or cut as asked
    |   `-- PlacementError       it does not fit
    |-- CommError                between ranks: see daemon/comm
    |   |-- InvalidRank
    |   |-- RecvTimeout
    |   |-- SendTimeout          no room, or the peer has never come up
    |   |-- PeerLost
    |   |-- CollectiveMismatch   ranks disagree on operation, shape or dtype
    |   |-- HandshakeRefused     wrong cluster, epoch or protocol version
    |   |-- MessageTooLarge
    |   `-- CodecError           bytes that are no message of ours
    |-- StaleGeneration          an action on an old picture of a rank
    |-- NotAllowed               an action by somebody who is not the operator
    `-- EngineError              a request can't be served
        |-- InvalidRequest
        |   `-- KvTooSmall       it needs more KV memory than there is
        |-- QueueFull
        |-- NotReady
        |-- CancelledByOperator
        `-- StepFailed

`GRPC_CODES` and `HTTP_CODES` say how each crosses a process border.
"""

from __future__ import annotations

from typing import Self


class ClusterError(Exception):
    """Root of all errors raised on purpose; its text is one line that says what to do."""


class SettingsError(ClusterError):
    """A flag, an environment variable or a key of cluster.toml is wrong."""


class PortInUse(ClusterError):
    """A port that must be ours is taken; the text names the port and its holder."""


class StartFailed(ClusterError):
    """A local cluster can't be started, or did not become ready; the text says why."""


class ModelError(ClusterError):
    """The model can't be found, read, or cut as asked."""


class PlacementError(ModelError):
    """No placement of the layers satisfies the limits; the text says how much is missing."""


class CommError(ClusterError):
    """Communication between ranks failed."""

    def __init__(
        self,
        message: str,
        *,
        rank: int | None = None,
        peer: int | None = None,
        tag: int | None = None,
        elapsed_s: float | None = None,
    ) -> None:
        """Keep who, with whom, on which tag and after how long, for the log."""
        super().__init__(message)
        self.rank = rank
        self.peer = peer
        self.tag = tag
        self.elapsed_s = elapsed_s

    def __str__(self) -> str:
        known = {"rank": self.rank, "peer": self.peer, "tag": self.tag}
        details = [f"{name} {value}" for name, value in known.items() if value is not None]
        if self.elapsed_s is not None:
            details.append(f"after {self.elapsed_s:.2f} s")
        message = str(self.args[0])
        return f"{message} ({', '.join(details)})" if details else message

    def fill(
        self, *, rank: int, peer: int | None, tag: int | None, elapsed_s: float | None
    ) -> Self:
        """Add what the raiser did not know and the caller's call does."""
        self.rank = rank if self.rank is None else self.rank
        self.peer = peer if self.peer is None else self.peer
        self.tag = tag if self.tag is None else self.tag
        self.elapsed_s = elapsed_s if self.elapsed_s is None else self.elapsed_s
        return self


class InvalidRank(CommError):
    """A rank outside the world, or oneself where a peer is wanted."""


class RecvTimeout(CommError):
    """Nothing arrived in time; the peer may be well."""


class SendTimeout(CommError):
    """A message could not leave in time: the peer is slow, or has not come up yet."""


class PeerLost(CommError):
    """The peer's process or its link is gone for longer than an interruption may last."""


class CollectiveMismatch(CommError):
    """Ranks entered a collective with different operations, shapes or dtypes."""


class HandshakeRefused(CommError):
    """The other end belongs to another cluster or epoch, or speaks another version."""


class MessageTooLarge(CommError):
    """A message over the limit of the link; nothing of it was delivered."""


class CodecError(CommError):
    """Received bytes that are no message of ours, or a value that can't be sent."""


class StaleGeneration(ClusterError):
    """The rank has been restarted since the caller looked: look again, then decide."""


class NotAllowed(ClusterError):
    """The daemon takes no actions from this caller; the text says what it would want."""


class EngineError(ClusterError):
    """A request can't be served."""


class InvalidRequest(EngineError):
    """Token ids or parameters that this model can't take."""


class KvTooSmall(InvalidRequest):
    """The ranks' memory for KV can't hold this request, even alone; the text has the numbers."""


class QueueFull(EngineError):
    """More requests wait than the queue may hold: try again later."""


class NotReady(EngineError):
    """The cluster is not up; the text says what is missing."""


class CancelledByOperator(EngineError):
    """Somebody at the console ended this request; to send it again would not be his wish."""


class StepFailed(EngineError):
    """The forward pass of a step raised; the text names the cause."""


# Error -> gRPC status name. The most specific class that is listed wins.
GRPC_CODES: dict[type[ClusterError], str] = {
    ClusterError: "INTERNAL",
    SettingsError: "INVALID_ARGUMENT",
    ModelError: "FAILED_PRECONDITION",
    CommError: "UNAVAILABLE",
    RecvTimeout: "DEADLINE_EXCEEDED",
    SendTimeout: "DEADLINE_EXCEEDED",
    StaleGeneration: "FAILED_PRECONDITION",
    NotAllowed: "PERMISSION_DENIED",
    InvalidRequest: "INVALID_ARGUMENT",
    KvTooSmall: "OUT_OF_RANGE",
    QueueFull: "RESOURCE_EXHAUSTED",
    NotReady: "UNAVAILABLE",
    CancelledByOperator: "CANCELLED",
    StepFailed: "INTERNAL",
}

# Error -> (HTTP status, OpenAI error type, OpenAI error code).
HTTP_CODES: dict[type[ClusterError], tuple[int, str, str | None]] = {
    ClusterError: (500, "server_error", None),
    CommError: (503, "server_error", "engine_unavailable"),
    InvalidRequest: (400, "invalid_request_error", None),
    KvTooSmall: (400, "invalid_request_error", "context_length_exceeded"),
    QueueFull: (429, "rate_limit_error", "queue_full"),
    NotReady: (503, "server_error", "engine_not_ready"),
    # Not a 5xx: client libraries send those again.
    CancelledByOperator: (403, "request_cancelled", "cancelled_by_operator"),
    StepFailed: (500, "server_error", "step_failed"),
}


def grpc_code(error: ClusterError) -> str:
    """Name of the gRPC status that carries ``error``."""
    return next(GRPC_CODES[kind] for kind in type(error).__mro__ if kind in GRPC_CODES)


def http_code(error: ClusterError) -> tuple[int, str, str | None]:
    """HTTP status, OpenAI type and OpenAI code that carry ``error``."""
    return next(HTTP_CODES[kind] for kind in type(error).__mro__ if kind in HTTP_CODES)
