"""ASGI shell around the app: request ids, access log, metrics, and letting a refused body end.

Owns what has to see the whole of a request, from the first header to the last byte, whatever
becomes of it inside. Knows no endpoint.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.api.metrics import Metrics

    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

log = logging.getLogger("daemon.api.access")

BODY_END_WAIT_S = 2.0
REQUEST_ID_KEY = "mlxconsole.request_id"
ENDPOINT_KEY = "mlxconsole.endpoint"
STARTED_KEY = "mlxconsole.started"
"""`time.monotonic` of the request's headers."""
CLEANUP_KEY = "mlxconsole.cleanup"
"""An `AsyncExitStack` that is left when the request is over, however it ends."""


def new_request_id() -> str:
    """An id that no other request has."""
    return f"req_{secrets.token_hex(16)}"


class RequestMeter:
    """Wraps an ASGI app."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Run one request (or pass on what is none)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID_KEY] = new_request_id()
        watched = _Exchange(scope, receive, send)
        started = scope[STARTED_KEY] = time.monotonic()
        # Who reads the gauge does not change it.
        counted = scope["path"] != "/metrics"
        self._metrics.in_flight.inc(counted)
        try:
            async with AsyncExitStack() as cleanup:
                scope[CLEANUP_KEY] = cleanup
                await self._app(scope, watched.receive, watched.send)
        finally:
            self._metrics.in_flight.dec(counted)
            self._record(scope, watched, time.monotonic() - started)

    def _record(self, scope: dict[str, Any], watched: _Exchange, seconds: float) -> None:
        endpoint = scope.get(ENDPOINT_KEY, "other")
        status = watched.status if watched.ended else 499
        if not watched.ended:
            self._metrics.cancelled.inc()
        self._metrics.requests.labels(_method(scope), endpoint, str(status)).inc()
        self._metrics.duration.labels(endpoint).observe(seconds)
        fields = {
            "request_id": scope[REQUEST_ID_KEY],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "seconds": round(seconds, 4),
        }
        quiet = endpoint in {"/health", "/metrics", "/status"}
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": fields})


def _method(scope: dict[str, Any]) -> str:
    known = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"}
    return scope["method"] if scope["method"] in known else "other"


class _Exchange:
    """One request and its answer, seen from outside."""

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.status = 500
        self.ended = False
        self._request_id = scope[REQUEST_ID_KEY].encode()
        self._receive = receive
        self._send = send
        self._body_read = asyncio.Event()

    async def receive(self) -> Message:
        """Pass on, and note the end of the request's body."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_read.set()
        return message

    async def send(self, message: Message) -> None:
        """Pass on; add the request id; hold the end back while the client still sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id)]
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            if not self._body_read.is_set():
                # Closing on a client that is still sending would reset the connection, and the
                # client would never read the refusal.
                await self._let_body_end()
            await self._send(message)
            self.ended = True
            return
        await self._send(message)

    async def _let_body_end(self) -> None:
        try:
            async with asyncio.timeout(BODY_END_WAIT_S):
                await self._body_read.wait()
        except TimeoutError:
            log.info("request_body_unfinished")
