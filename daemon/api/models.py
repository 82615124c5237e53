"""GET /v1/models and /v1/models/{id}.

Owns the model object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.api.http import json_response

if TYPE_CHECKING:
    from quart import Quart, Response

    from daemon.api.context import ApiContext


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoints."""

    @app.get("/v1/models")
    async def list_models() -> Response:
        return json_response({"object": "list", "data": [await _model(context)]})

    @app.get("/v1/models/<path:name>")
    async def retrieve_model(name: str) -> Response:
        context.check_model(name)
        return json_response(await _model(context))


async def _model(context: ApiContext) -> dict[str, Any]:
    max_context = await context.max_context()
    return {
        "id": context.model_name,
        "object": "model",
        "created": context.started_at,
        "owned_by": "mlxconsole",
        "max_model_len": max_context or None,
    }
