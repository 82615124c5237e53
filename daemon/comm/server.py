"""The gRPC server on a rank's data port: gives each peer the stream of frames meant for it.

Handlers are non-blocking (gRPC's experimental mode): a stream holds no thread, and frames are
pushed by whoever sends. Other services of the process are added to the same server.
"""

from __future__ import annotations

import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

from daemon.comm.frames import Hello, Kind, pack_fields, pack_header
from daemon.comm.grpc_options import SERVER
from daemon.comm.reader import METHOD
from daemon.errors import CodecError, HandshakeRefused, PortInUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.comm.link import Link
    from daemon.comm.settings import TlsSettings

log = logging.getLogger(__name__)

LINK_THREADS = 4
CLOSE_TIMEOUT_S = 2.0
SERVICE_THREADS = 64
"""For the other services: each of their open streams may hold one."""


class PushStream:
    """Frames towards one peer, written by whoever has one to send."""

    def __init__(self, context: grpc.ServicerContext, push: Callable[[bytes | None], None]) -> None:
        self.ready = False
        self.busy = False
        self._context = context
        self._push = push
        self._sending = threading.Lock()  # gRPC allows one message under way per call

    def send(self, frame: bytes) -> None:
        """Write; blocks under flow control until taken or the stream ends."""
        with self._sending:
            self._push(frame)

    def cancel(self) -> None:
        """End the stream."""
        self._context.cancel()


if TYPE_CHECKING:
    _Handler = grpc.GenericRpcHandler[Any, Any]
else:
    _Handler = grpc.GenericRpcHandler  # generic for the type checker only


class LinkService(_Handler):
    """`mlxconsole.v1.Link/Frames`: raw bytes both ways, see docs/wire.md."""

    def __init__(self, links: Mapping[int, Link]) -> None:
        self._links = links
        self._pool = ThreadPoolExecutor(LINK_THREADS, "comm-accept")
        behavior: Any = self._behavior()
        behavior.experimental_non_blocking = True
        behavior.experimental_thread_pool = self._pool
        self._handler = grpc.unary_stream_rpc_method_handler(behavior)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The one method we know."""
        known = handler_call_details.method == METHOD
        return self._handler if known else None

    def close(self) -> None:
        """End the threads that accept streams."""
        self._pool.shutdown()

    def _behavior(self) -> Callable[..., None]:
        def frames(
            request: bytes, context: grpc.ServicerContext, push: Callable[[bytes | None], None]
        ) -> None:
            try:
                self._accept(Hello.unpack(request), PushStream(context, push), context)
            except (HandshakeRefused, CodecError) as error:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))

        return frames

    def _accept(self, hello: Hello, stream: PushStream, context: grpc.ServicerContext) -> None:
        link = self._links.get(hello.source)
        if link is None:
            raise HandshakeRefused(f"no peer of rank {hello.source!r} in this world")
        welcome = link.attach(hello, stream)
        if not context.add_callback(lambda: link.detached(stream)):
            link.detached(stream)
            return
        stream.send(pack_header(Kind.WELCOME, 0, 0, 0) + pack_fields(dict(welcome)))
        link.attached(stream)


class Server:
    """Owns the port."""

    def __init__(
        self,
        address: tuple[str, int],
        links: Mapping[int, Link],
        services: Sequence[grpc.GenericRpcHandler[Any, Any]],
        tls: TlsSettings | None,
    ) -> None:
        self._address = address
        self._link_service = LinkService(links)
        self._pool = ThreadPoolExecutor(SERVICE_THREADS, "grpc-service")
        self._server = grpc.server(
            self._pool, handlers=[self._link_service, *services], options=SERVER
        )
        self._tls = tls

    def start(self) -> None:
        """Bind and serve.

        Raises:
            PortInUse: somebody else listens there.
        """
        host, port = self._address
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._tls is None:
                bound = self._server.add_insecure_port(target)
            else:
                bound = self._server.add_secure_port(target, _credentials(self._tls))
        except RuntimeError as error:
            raise PortInUse(
                f"data port {port} on {host} can't be bound: another process holds it, "
                "or the address is not this machine's"
            ) from error
        if bound != port:
            raise PortInUse(f"asked for data port {port} on {host}, got {bound}")
        self._server.start()

    def close(self) -> None:
        """End every call and free the port; waits for that, within limits."""
        self._server.stop(0).wait(CLOSE_TIMEOUT_S)
        self._link_service.close()
        # Their calls are cancelled; how quickly they see it is the services' own business.
        self._pool.shutdown(wait=False, cancel_futures=True)


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)], root_certificates=tls.ca, require_client_auth=True
    )


def is_gone(address: tuple[str, int]) -> bool:
    """Whether the host answers that nobody listens: the process there is no more."""
    try:
        with socket.create_connection(address, timeout=0.1):
            return False
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
