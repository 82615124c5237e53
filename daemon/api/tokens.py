"""POST /tokenize and /detokenize.

Owns both endpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.api.errors import bad_request
from daemon.api.http import json_response, read_body
from daemon.api.schemas.completion import DetokenizeRequest, TokenizeRequest

if TYPE_CHECKING:
    from quart import Quart, Response

    from daemon.api.context import ApiContext


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoints."""

    @app.post("/tokenize")
    async def tokenize() -> Response:
        request = await read_body(TokenizeRequest)
        if request.model is not None:
            context.check_model(request.model)
        special = request.add_special_tokens is not False
        tokens = await context.encode(request.prompt, special=special)
        max_context = await context.max_context()
        body = {"tokens": tokens, "count": len(tokens), "max_model_len": max_context or None}
        return json_response(body)

    @app.post("/detokenize")
    async def detokenize() -> Response:
        request = await read_body(DetokenizeRequest)
        if request.model is not None:
            context.check_model(request.model)
        text = await context.text()
        try:
            return json_response({"prompt": text.decode(request.tokens)})
        except (OverflowError, ValueError, IndexError) as error:
            raise bad_request(f"Invalid 'tokens': {error}.", "tokens", "invalid_value") from error
