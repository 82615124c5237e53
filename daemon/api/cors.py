"""Lets web pages of other origins use the endpoint, as OpenAI's own does.

Owns the answer to a browser's question before a request (preflight) and the headers of all answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Response, request

if TYPE_CHECKING:
    from quart import Quart

METHODS = "GET, POST, DELETE, OPTIONS"
READABLE = "x-request-id, retry-after"
KEEP_S = 86_400
"""For how long a browser need not ask again."""


def register(app: Quart, origins: str) -> None:
    """Answer pages of ``origins`` (`*`, one origin, or nothing: none); comes before the key check.

    No cookie is ever used here, so letting a page in gives it nothing that it has not.
    """
    if not origins:
        return

    @app.before_request
    async def preflight() -> Response | None:
        asks = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or asks is None:
            return None
        response = Response("", 204)
        asked = request.headers.get("Access-Control-Request-Headers")
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = asked or "authorization, content-type"
        response.headers["Access-Control-Max-Age"] = str(KEEP_S)
        return response

    @app.after_request
    async def allow(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = origins
        response.headers["Access-Control-Expose-Headers"] = READABLE
        if origins != "*":
            response.headers["Vary"] = "Origin"
        return response
