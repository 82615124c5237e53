"""Lets web pages use the endpoint: those of this machine, unless the settings name others.

Owns the answer to a browser's question before a request (preflight) and the headers of all answers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from quart import Response, request

if TYPE_CHECKING:
    from quart import Quart

METHODS = "GET, POST, DELETE, OPTIONS"
READABLE = "x-request-id, retry-after"
KEEP_S = 86_400
"""For how long a browser need not ask again."""

_LOOPBACK = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")


def register(app: Quart, origins: str) -> None:
    """Let pages of ``origins`` in (see `ApiPart.cors_origin`); comes before the key check."""
    if not origins:
        return

    @app.before_request
    async def preflight() -> Response | None:
        asks = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or asks is None or not allowed_origin(origins, _origin()):
            return None
        response = Response("", 204)
        asked = request.headers.get("Access-Control-Request-Headers")
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = asked or "authorization, content-type"
        response.headers["Access-Control-Max-Age"] = str(KEEP_S)
        return response

    @app.after_request
    async def allow(response: Response) -> Response:
        if origins != "*":
            response.headers["Vary"] = "Origin"
        if allowed := allowed_origin(origins, _origin()):
            response.headers["Access-Control-Allow-Origin"] = allowed
            response.headers["Access-Control-Expose-Headers"] = READABLE
        return response


def allowed_origin(origins: str, origin: str) -> str:
    """What a page of ``origin`` is told that may use the endpoint; empty: it may not."""
    if origins == "loopback":
        return origin if _LOOPBACK.fullmatch(origin) else ""
    return origins


def _origin() -> str:
    return request.headers.get("Origin", "")
