"""Serves an ASGI app with Hypercorn, over HTTP/1.1 and HTTP/2 (with prior knowledge or TLS).

Owns the listening socket and the order of a shutdown. Knows no endpoint.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Any

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets

from daemon.api import broken_http
from daemon.errors import SettingsError
from daemon.ports import port_in_use

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BACKLOG = 1024
KEEP_ALIVE_S = 75.0
LAST_CALL_S = 0.5
"""After the grace, for streams to be told and connections to close."""


def bind(host: str, port: int) -> socket.socket:
    """The listening socket.

    Raises:
        PortInUse: names the port and its holder.
        SettingsError: the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise port_in_use(host, port, "api.port") from error
        raise SettingsError(
            f"can't listen on {host}:{port} (api.port): {error.strerror or error}"
        ) from error
    listener.setblocking(False)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def serve(
    app: Any,
    listener: socket.socket,
    stop: Callable[[], Awaitable[Any]],
    *,
    grace_s: float,
    last_call: Callable[[], None],
) -> None:
    """Answer requests until ``stop`` returns; then take no new ones and let streams end.

    Args:
        app: an ASGI app.
        listener: bound and listening; closed in the end.
        stop: awaited; its return begins the shutdown.
        grace_s: how long streams may go on after that.
        last_call: then called, to end them with a word; what is still there is cut off.
    """
    broken_http.install()
    config = Config()
    config.backlog = BACKLOG
    config.graceful_timeout = grace_s + LAST_CALL_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = 1_000_000
    config.include_server_header = False
    config.errorlog = None
    config.accesslog = None
    config.h2_max_concurrent_streams = 512
    sockets = Sockets([], [listener], [])
    stopped = asyncio.Event()

    async def trigger() -> None:
        await stop()
        stopped.set()

    serving = asyncio.create_task(
        worker_serve(ASGIWrapper(app), config, sockets=sockets, shutdown_trigger=trigger)
    )
    ending = asyncio.create_task(stopped.wait())
    await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
    # From Python 3.12 on, Hypercorn waits for open connections without a limit of its own.
    await asyncio.wait((serving,), timeout=grace_s)
    if not serving.done():
        last_call()
        await asyncio.wait((serving,), timeout=LAST_CALL_S)
    for task in (serving, ending):
        task.cancel()
    # A connection whose reader has stopped reading may not close: the process does not wait for it.
    await asyncio.wait((serving, ending), timeout=LAST_CALL_S)
