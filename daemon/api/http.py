"""The small change of HTTP for all endpoints: reading JSON bodies, answering JSON, errors, SSE.

Owns how Quart is used: no endpoint touches headers or status codes of errors itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from quart import Response, request
from werkzeug.exceptions import HTTPException, RequestTimeout

from daemon.api.errors import ApiError, from_cluster_error
from daemon.api.meter import CLEANUP_KEY, ENDPOINT_KEY, REQUEST_ID_KEY
from daemon.api.validation import Body, parse_body
from daemon.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager, AsyncExitStack

    from quart import Quart

log = logging.getLogger(__name__)
Entered = TypeVar("Entered")

NOT_SERVED = frozenset(
    [
        "assistants",
        "audio",
        "batches",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "moderations",
        "organization",
        "realtime",
        "skills",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    ]
)
"""Families of OpenAI's endpoints that a client may ask for in good faith."""
_HTTP_MESSAGES = {
    404: "Unknown request URL: {method} {path}. See /docs for what this server answers.",
    405: "Not allowed to {method} on {path}.",
    408: "The request body did not come in time: it must be here within {seconds} s.",
    413: "The request body is too large: at most {limit} bytes are taken.",
}


def client() -> str:
    """The address that the present request came from; empty if the server does not know."""
    return request.remote_addr or ""


def request_id() -> str:
    """Id of the request being answered, as in its `x-request-id` header."""
    return str(request.scope[REQUEST_ID_KEY])  # type: ignore[typeddict-item]


async def enter(resource: AbstractAsyncContextManager[Entered]) -> Entered:
    """Enter ``resource`` for the rest of the request: until the answer is out or the client left.

    An async generator's own `finally` is not enough: it never runs if nobody begins to iterate.
    """
    cleanup: AsyncExitStack = request.scope[CLEANUP_KEY]  # type: ignore[typeddict-item]
    return await cleanup.enter_async_context(resource)


async def read_body(kind: type[Body]) -> Body:
    """The request's JSON body.

    Raises:
        ApiError: 415 for another content type, 400 for anything wrong in it.
        RequestEntityTooLarge: longer than the settings allow.
        RequestTimeout: it does not come.
    """
    mime = request.mimetype
    # A browser lets any page send a body without a type; with JSON it asks first (see `cors`).
    untyped = not mime and "Origin" not in request.headers
    if not untyped and mime != "application/json" and not mime.endswith("+json"):
        raise ApiError(
            415,
            f"Unsupported content type '{mime}': send JSON with 'Content-Type: application/json'.",
            code="unsupported_content_type",
        )
    return parse_body(kind, await _whole_body())


async def _whole_body() -> bytes:
    try:
        async with asyncio.timeout(request.body_timeout):
            return await request.body
    except TimeoutError as error:
        raise RequestTimeout from error


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    response = Response(text, status, content_type="application/json")
    response.headers.update(headers or {})
    return response


def error_response(error: ApiError) -> Response:
    """An error object."""
    return json_response(error.body, error.status, error.headers)


def event_stream(events: AsyncGenerator[bytes, None]) -> Response:
    """A stream of server-sent events."""
    response = Response(events, content_type="text/event-stream; charset=utf-8")
    response.timeout = None
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def as_api_error(error: Exception) -> ApiError:
    """Any exception as what the client is told; the unexpected is logged and not told."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ClusterError):
        return from_cluster_error(error)
    log.error("request_failed", exc_info=error)
    return ApiError(
        500, "The server had an error while processing the request.", kind="server_error"
    )


def _family(path: str) -> str:
    return path.removeprefix("/v1/").partition("/")[0] if path.startswith("/v1/") else ""


def register_errors(app: Quart) -> None:
    """Answer everything that goes wrong with an error object, Quart's own errors too."""

    async def on_http(error: HTTPException) -> Response:
        status = error.code or 500
        pattern = _HTTP_MESSAGES.get(status, error.description or error.name)
        message = pattern.replace("{limit}", str(app.config["MAX_CONTENT_LENGTH"]))
        message = message.replace("{seconds}", f"{app.config['BODY_TIMEOUT']:g}")
        if status == 404 and _family(request.path) in NOT_SERVED:
            message = "{method} {path} is not served here: this server has a text model alone."
        message = message.replace("{method}", request.method).replace("{path}", request.path)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        codes = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}
        response = error_response(ApiError(status, message, kind=kind, code=codes.get(status)))
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
        if status in {408, 413}:  # there may be more of the body
            response.headers["Connection"] = "close"
        return response

    async def on_any(error: Exception) -> Response:
        return error_response(as_api_error(error))

    app.register_error_handler(HTTPException, on_http)
    app.register_error_handler(Exception, on_any)

    @app.before_request
    async def note_endpoint() -> None:
        rule = request.url_rule
        request.scope[ENDPOINT_KEY] = rule.rule if rule else "other"  # type: ignore[typeddict-unknown-key]
