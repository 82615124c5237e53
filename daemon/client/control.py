"""A client of one rank's supervisor, for the console and for `up`, `down` and `status`.

Runs on its user's event loop. Every call has a deadline; every failure is one of `daemon.errors`.
It does not try again: whoever looks repeatedly decides how often.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio

from daemon.errors import (
    ClusterError,
    InvalidRequest,
    NotAllowed,
    NotReady,
    QueueFull,
    StaleGeneration,
)
from daemon.operator_token import credentials, operator_token
from protos import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CALL_TIMEOUT_S = 2.0
FRAME_TIMEOUT_S = 5.0
"""Frames come every 250 ms; a supervisor silent for this long is stuck or cut off."""

_CHANNEL_OPTIONS: list[tuple[str, int]] = [
    # A supervisor that starts is found quickly: the default backs off to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 500),
    # One connection of its own: closing it ends it, whoever else talks to the same address.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy of the environment is for the way out, not for the ranks.
    ("grpc.enable_http_proxy", 0),
]

_ERRORS: dict[grpc.StatusCode, type[ClusterError]] = {
    grpc.StatusCode.FAILED_PRECONDITION: StaleGeneration,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: QueueFull,
}


class ControlClient:
    """Calls on the supervisor at ``host:port``; the first one connects.

    All calls raise `NotReady` when no daemon answers there, or not in time; those that act,
    `NotAllowed` when the daemon wants another operator token than this process has.
    """

    def __init__(self, host: str, port: int, token: str | None = None) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._credentials = credentials(operator_token() if token is None else token)
        self._channel = grpc.aio.insecure_channel(self.address, options=_CHANNEL_OPTIONS)
        self._stub: control_pb2_grpc.ControlAsyncStub = control_pb2_grpc.ControlStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get_status(self, timeout_s: float = CALL_TIMEOUT_S) -> control_pb2.RankStatus:
        """The rank, now."""
        request = control_pb2.GetStatusRequest()
        try:
            return await self._stub.GetStatus(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._error(error, timeout_s) from error

    async def get_cluster(self, timeout_s: float = CALL_TIMEOUT_S) -> control_pb2.ClusterInfo:
        """The members of the cluster."""
        request = control_pb2.GetClusterRequest()
        try:
            return await self._stub.GetCluster(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._error(error, timeout_s) from error

    async def watch(
        self, history_lines: int = 0, frame_timeout_s: float = FRAME_TIMEOUT_S
    ) -> AsyncGenerator[control_pb2.WatchFrame]:
        """Frames until the supervisor ends in order.

        Args:
            history_lines: how many recent log lines to begin with.
            frame_timeout_s: without a frame for so long, `NotReady` is raised.

        Raises:
            NotReady: the supervisor is gone, or silent.
        """
        call = self._stub.Watch(control_pb2.WatchRequest(history_lines=history_lines))
        try:
            while True:
                # Not wait_for: Python 3.11's forgets a cancellation that comes with a frame.
                async with asyncio.timeout(frame_timeout_s):
                    frame = await call.read()
                if not isinstance(frame, control_pb2.WatchFrame):
                    return  # the end of the stream
                yield frame
        except TimeoutError as error:
            raise NotReady(
                f"the daemon at {self.address} has been silent for {frame_timeout_s:g} s"
            ) from error
        except grpc.aio.AioRpcError as error:
            raise self._error(error, frame_timeout_s) from error
        finally:
            call.cancel()

    async def trace(
        self, sequence: int = 0, most_steps: int = 0, timeout_s: float = CALL_TIMEOUT_S
    ) -> list[control_pb2.TraceStep]:
        """The last steps of the worker, oldest first; those of one sequence only, if given."""
        request = control_pb2.TraceRequest(sequence=sequence, most_steps=most_steps)
        try:
            reply: control_pb2.TraceReply = await self._stub.Trace(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._error(error, timeout_s) from error
        return list(reply.steps)

    async def restart(
        self,
        generation: int,
        drain_timeout_s: float = 0.0,
        reason: str = "",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> control_pb2.ActionReply:
        """Ask for a fresh worker; answers when the restart has begun.

        Args:
            generation: the one that the caller saw.
            drain_timeout_s: drain first, for so long at most; 0: at once.
            reason: for the log and the events.
            timeout_s: for the answer.

        Raises:
            StaleGeneration: the rank has been restarted since.
        """
        request = control_pb2.RestartRequest(
            generation=generation, drain_timeout_s=drain_timeout_s, reason=reason
        )
        try:
            return await self._stub.Restart(request, timeout=timeout_s, metadata=self._credentials)
        except grpc.aio.AioRpcError as error:
            raise self._error(error, timeout_s) from error

    async def act(
        self, action: str, generation: int, reason: str = "", timeout_s: float = CALL_TIMEOUT_S
    ) -> control_pb2.ActionReply:
        """Drain, undrain or kill (the ``action``) the worker of this generation.

        Raises:
            StaleGeneration: the rank has been restarted since.
        """
        calls = {"drain": self._stub.Drain, "undrain": self._stub.Undrain, "kill": self._stub.Kill}
        request = control_pb2.ActionRequest(generation=generation, reason=reason)
        try:
            return await calls[action](request, timeout=timeout_s, metadata=self._credentials)
        except grpc.aio.AioRpcError as error:
            raise self._error(error, timeout_s) from error

    async def cancel(
        self,
        request_id: str,
        generation: int,
        reason: str = "",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> control_pb2.ActionReply:
        """End a request, on rank 0.

        Raises:
            StaleGeneration: the rank has been restarted since.
            InvalidRequest: this is not rank 0, or no such request runs.
        """
        request = control_pb2.CancelRequest(
            generation=generation, request_id=request_id, reason=reason
        )
        try:
            return await self._stub.Cancel(request, timeout=timeout_s, metadata=self._credentials)
        except grpc.aio.AioRpcError as error:
            raise self._error(error, timeout_s) from error

    async def shutdown(
        self, grace_s: float = 0.0, timeout_s: float = CALL_TIMEOUT_S
    ) -> control_pb2.ActionReply:
        """Ask the rank to end; answers at once, wait for its process to be sure.

        Args:
            grace_s: how long its processes may take; the daemon's default if 0.
            timeout_s: for the answer.
        """
        request = control_pb2.ShutdownRequest(grace_s=grace_s)
        try:
            return await self._stub.Shutdown(request, timeout=timeout_s, metadata=self._credentials)
        except grpc.aio.AioRpcError as error:
            raise self._error(error, timeout_s) from error

    async def close(self) -> None:
        """End the connection and every call on it."""
        await self._channel.close(None)

    def _error(self, error: grpc.aio.AioRpcError, timeout_s: float) -> ClusterError:
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return NotReady(f"the daemon at {self.address} did not answer within {timeout_s:g} s")
        if code is grpc.StatusCode.UNAVAILABLE:
            # What a daemon of ours says is shorter than what gRPC says of a socket.
            ours = details if "shutting down" in details else "no daemon answers"
            return NotReady(f"{ours} at {self.address}")
        if code in _ERRORS:
            return _ERRORS[code](details)
        return ClusterError(f"the daemon at {self.address} failed: {code.name}: {details}")
