"""The Control service of control.proto: words of the protocol to calls on the supervisor.

Owns no state. Runs on the supervisor's event loop; an error of ours becomes its gRPC status.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio

from daemon import __version__, operator_token, ports
from daemon.errors import ClusterError, grpc_code
from protos import control_pb2, control_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.settings import Settings
    from daemon.supervision.history import History

    Context = grpc.aio.ServicerContext[Any, Any]

log = logging.getLogger(__name__)

FRAME_INTERVAL_S = 0.25
_TABLE_AGE_S = 1.25
"""A request that began so long ago is in the table, however long that is."""
_MAX_CALLS = 256
_MAX_REQUEST_BYTES = 64 * 1024

SERVER_OPTIONS: list[tuple[str, int]] = [
    # Two supervisors must not share a port in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    # A reader whose machine is gone frees its stream within seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
]


class Supervised(Protocol):
    """What the service needs of a supervisor."""

    history: History
    closing: asyncio.Event
    """Set when the last frames are to be sent."""

    def status(self) -> control_pb2.RankStatus:
        """The rank, now."""
        ...

    def requests(self) -> control_pb2.RequestTable | None:
        """The requests of rank 0; None elsewhere."""
        ...

    async def trace(self, sequence: int, most_steps: int) -> list[control_pb2.TraceStep]:
        """The last steps of the worker. Raises NotReady."""
        ...

    def restart(self, generation: int, drain_timeout_s: float, reason: str) -> int:
        """Begin a restart; the generation to come. Raises StaleGeneration, NotReady."""
        ...

    def order(self, name: str, generation: int, reason: str, **details: str) -> None:
        """Have the worker drain, undrain or cancel. Raises StaleGeneration, NotReady."""
        ...

    def kill(self, generation: int, reason: str) -> int:
        """End the worker at once; the generation to come. Raises StaleGeneration, NotReady."""
        ...

    def shutdown(self, grace_s: float, reason: str) -> None:
        """Begin to end."""
        ...


class ControlService(control_pb2_grpc.ControlServicer):
    """Answers the calls of consoles and commands."""

    def __init__(self, supervised: Supervised, settings: Settings, token: str = "") -> None:
        self._supervised = supervised
        self._settings = settings
        self._token = token
        """The operator's; without one only callers on this machine may act."""

    async def GetStatus(  # noqa: N802  named by control.proto
        self, request: control_pb2.GetStatusRequest, context: Context
    ) -> control_pb2.RankStatus:
        """This rank, now."""
        del request, context
        return self._supervised.status()

    async def GetCluster(  # noqa: N802  named by control.proto
        self, request: control_pb2.GetClusterRequest, context: Context
    ) -> control_pb2.ClusterInfo:
        """The members that the settings name."""
        del request, context
        return cluster_info(self._settings)

    async def Watch(  # noqa: N802  named by control.proto
        self, request: control_pb2.WatchRequest, context: Context
    ) -> AsyncIterator[control_pb2.WatchFrame]:
        """Frames until the reader goes or the supervisor ends; see control.proto."""
        del context
        closing = self._supervised.closing
        with self._supervised.history.subscribe(request.history_lines) as subscription:
            while True:
                last = closing.is_set()
                frame = subscription.take()
                frame.status.CopyFrom(self._supervised.status())
                frame.time_s = time.time()
                requests = self._supervised.requests()
                if requests is not None:
                    frame.requests.CopyFrom(requests)
                yield frame
                if subscription.waiting:
                    continue
                if last:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(FRAME_INTERVAL_S):
                        await closing.wait()

    async def Restart(  # noqa: N802  named by control.proto
        self, request: control_pb2.RestartRequest, context: Context
    ) -> control_pb2.ActionReply:
        """Stop the worker and start it again."""
        await self._authorise(context)
        try:
            generation = self._supervised.restart(
                request.generation,
                max(0.0, request.drain_timeout_s),
                f"restarted by {_who(request.reason, context)}",
            )
        except ClusterError as error:
            return await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
        return control_pb2.ActionReply(
            message=f"restarting the worker: generation {generation} follows",
            generation=generation,
        )

    async def Shutdown(  # noqa: N802  named by control.proto
        self, request: control_pb2.ShutdownRequest, context: Context
    ) -> control_pb2.ActionReply:
        """End this rank."""
        await self._authorise(context)
        who = operator_token.peer_host(context.peer())
        self._supervised.shutdown(max(0.0, request.grace_s), f"shut down by {who}")
        return control_pb2.ActionReply(
            message="shutting down", generation=self._supervised.status().generation
        )

    async def Drain(  # noqa: N802  named by control.proto
        self, request: control_pb2.ActionRequest, context: Context
    ) -> control_pb2.ActionReply:
        """Take the rank out of work."""
        text = "drains: its layers move, or no new request begins"
        return await self._order("drain", request, context, text)

    async def Undrain(  # noqa: N802  named by control.proto
        self, request: control_pb2.ActionRequest, context: Context
    ) -> control_pb2.ActionReply:
        """Let it work again."""
        return await self._order("undrain", request, context, "takes part again")

    async def Cancel(  # noqa: N802  named by control.proto
        self, request: control_pb2.CancelRequest, context: Context
    ) -> control_pb2.ActionReply:
        """End one request."""
        if self._supervised.status().rank != 0:
            return await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "requests are cancelled on rank 0"
            )
        await self._authorise(context)
        if await self._is_unknown(request):
            return await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"no request {request.request_id!r} runs or waits on rank 0: it may have ended; "
                "the console's requests page names those that there are",
            )
        text = f"{request.request_id} is being cancelled"
        return await self._order("cancel", request, context, text, request_id=request.request_id)

    async def _is_unknown(self, request: control_pb2.CancelRequest) -> bool:
        """Whether the worker that the caller saw has no such request; tables lag, so it waits."""
        status = self._supervised.status()
        if status.generation != request.generation or not status.worker_pid:
            return False  # the order itself is refused, with a better reason
        deadline_s = time.monotonic() + _TABLE_AGE_S
        while not _may_run(self._supervised.requests(), request.request_id):
            if time.monotonic() >= deadline_s:
                return True
            await asyncio.sleep(FRAME_INTERVAL_S)
        return False

    async def Kill(  # noqa: N802  named by control.proto
        self, request: control_pb2.ActionRequest, context: Context
    ) -> control_pb2.ActionReply:
        """End the worker with SIGKILL."""
        await self._authorise(context)
        try:
            generation = self._supervised.kill(
                request.generation, f"killed by {_who(request.reason, context)}"
            )
        except ClusterError as error:
            return await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
        return control_pb2.ActionReply(
            message=f"killed: generation {generation} follows", generation=generation
        )

    async def _order(
        self,
        name: str,
        request: control_pb2.ActionRequest | control_pb2.CancelRequest,
        context: Context,
        text: str,
        **details: str,
    ) -> control_pb2.ActionReply:
        await self._authorise(context)
        try:
            self._supervised.order(
                name,
                request.generation,
                " ".join([name, *details.values(), "by", _who(request.reason, context)]),
                **details,
            )
        except ClusterError as error:
            return await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
        return control_pb2.ActionReply(message=text, generation=request.generation)

    async def _authorise(self, context: Context) -> None:
        """Let operators act; end the call of anybody else."""
        try:
            operator_token.check(self._token, context.invocation_metadata() or (), context.peer())
        except ClusterError as error:
            log.warning("action_refused", extra={"fields": {"peer": context.peer()}})
            await context.abort(grpc.StatusCode[grpc_code(error)], str(error))

    async def Trace(  # noqa: N802  named by control.proto
        self, request: control_pb2.TraceRequest, context: Context
    ) -> control_pb2.TraceReply:
        """What the worker did in its last steps."""
        try:
            steps = await self._supervised.trace(request.sequence, request.most_steps)
        except ClusterError as error:
            return await context.abort(grpc.StatusCode[grpc_code(error)], str(error))
        return control_pb2.TraceReply(steps=steps, rank=self._supervised.status().rank)


def _may_run(table: control_pb2.RequestTable | None, request_id: str) -> bool:
    """Whether the table names the request, or one of its choices (``ID/0``), or is cut short."""
    if table is None or not request_id:
        return False
    called = any(request_id in {row.id, row.id.rpartition("/")[0]} for row in table.rows)
    return called or table.total > len(table.rows)


def _who(reason: str, context: Context) -> str:
    return f"{operator_token.peer_host(context.peer())}: {reason or 'no reason given'}"


def cluster_info(settings: Settings) -> control_pb2.ClusterInfo:
    """The cluster as ``settings`` describe it."""
    return control_pb2.ClusterInfo(
        name=settings.cluster.name,
        model=settings.cluster.model,
        api_url=settings.api_url,
        version=__version__,
        members=[
            control_pb2.Member(
                rank=rank, host=part.host, port=part.port, control_port=part.control_port
            )
            for rank, part in enumerate(settings.ranks)
        ],
    )


async def serve(service: ControlService, host: str, port: int, purpose: str) -> grpc.aio.Server:
    """Start a control server.

    Raises:
        PortInUse: names the port and its holder.
        SettingsError: the host is no address of this machine.
    """
    ports.check_free(host, port, purpose)
    server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=_MAX_CALLS)
    control_pb2_grpc.add_ControlServicer_to_server(service, server)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise ports.port_in_use(host, port, purpose) from error
    if not bound:
        raise ports.port_in_use(host, port, purpose)
    await server.start()
    return server
