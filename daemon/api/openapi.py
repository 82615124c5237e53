"""The description of our own endpoints: /openapi.json, and /docs for people.

Owns the document. Request bodies come from the pydantic models, so they can't differ from what is
checked; answers are described by their outline.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema
from quart import Response

from daemon.api.http import json_response
from daemon.api.schemas.chat import ChatRequest
from daemon.api.schemas.completion import CompletionRequest, DetokenizeRequest, TokenizeRequest
from daemon.api.schemas.responses import ResponsesRequest

if TYPE_CHECKING:
    from pydantic import BaseModel
    from quart import Quart

    from daemon.api.context import ApiContext

VERSION = "1.0.0"
_REF = "#/components/schemas/{model}"
_ERROR_STATUSES = {
    "400": "The request is wrong: `param` names the field.",
    "401": "The API key is missing or wrong.",
    "404": "No such model or URL.",
    "405": "The URL does not take this method.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too many requests wait: see `Retry-After`.",
    "500": "The server failed.",
    "503": "The cluster is not up: see `Retry-After`.",
}


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One line of the document."""

    method: str
    path: str
    summary: str
    body: type[BaseModel] | None = None
    required: tuple[str, ...] = ()
    """Members of the answer."""
    content_type: str = "application/json"
    streams: bool = False


ENDPOINTS = (
    _Endpoint("get", "/v1/models", "The models that are served.", required=("object", "data")),
    _Endpoint("get", "/v1/models/{model}", "One model.", required=("id", "object", "owned_by")),
    _Endpoint(
        "post",
        "/v1/chat/completions",
        "Answer a conversation.",
        ChatRequest,
        ("id", "object", "created", "model", "choices", "usage"),
        streams=True,
    ),
    _Endpoint(
        "post",
        "/v1/completions",
        "Continue a text.",
        CompletionRequest,
        ("id", "object", "created", "model", "choices", "usage"),
        streams=True,
    ),
    _Endpoint(
        "post",
        "/v1/responses",
        "Answer, with items and stored conversations.",
        ResponsesRequest,
        ("id", "object", "status", "output"),
        streams=True,
    ),
    _Endpoint("post", "/tokenize", "Text to tokens.", TokenizeRequest, ("tokens", "count")),
    _Endpoint("post", "/detokenize", "Tokens to text.", DetokenizeRequest, ("prompt",)),
    _Endpoint("get", "/health", "A probe through all ranks.", required=("status",)),
    _Endpoint("get", "/status", "What is served, and whether it is ready.", required=("status",)),
    _Endpoint("get", "/metrics", "Counters for Prometheus.", content_type="text/plain"),
)


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoints."""

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return json_response(describe(context.model_name))

    @app.get("/docs")
    async def docs() -> Response:
        page = _page(describe(context.model_name))
        return Response(page, content_type="text/html; charset=utf-8")


@cache
def describe(model_name: str) -> dict[str, Any]:
    """The OpenAPI document."""
    bodies = [endpoint.body for endpoint in ENDPOINTS if endpoint.body is not None]
    _, definitions = models_json_schema(
        [(body, "validation") for body in bodies], ref_template=_REF
    )
    schemas = definitions["$defs"]
    schemas["Error"] = _error_schema()
    for body in bodies:
        schema = schemas[body.__name__]["properties"]["model"]
        schema.update({"enum": [model_name] if "anyOf" not in schema else [model_name, None]})
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method] = _operation(endpoint, model_name)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlxconsole",
            "version": VERSION,
            "description": "OpenAI-compatible endpoint of an mlxconsole cluster.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _error_schema() -> dict[str, Any]:
    text_or_null = {"type": ["string", "null"]}
    error = {
        "type": "object",
        "required": ["message", "type", "param", "code"],
        "properties": {
            "message": {"type": "string"},
            "type": {"type": "string"},
            "param": text_or_null,
            "code": text_or_null,
        },
    }
    return {"type": "object", "required": ["error"], "properties": {"error": error}}


def _operation(endpoint: _Endpoint, model_name: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method}{endpoint.path.replace('/', '_')}".strip("{}"),
        "summary": endpoint.summary,
        "responses": _responses(endpoint),
    }
    if endpoint.body is not None:
        schema = {"$ref": _REF.format(model=endpoint.body.__name__)}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if "{model}" in endpoint.path:
        parameter: dict[str, Any] = {"name": "model", "in": "path", "required": True}
        parameter |= {"schema": {"type": "string", "minLength": 1}, "example": model_name}
        operation["parameters"] = [parameter]
    return operation


def _responses(endpoint: _Endpoint) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if endpoint.content_type == "application/json":
        schema = {"type": "object", "required": list(endpoint.required)}
    content: dict[str, Any] = {endpoint.content_type: {"schema": schema}}
    if endpoint.streams:
        content["text/event-stream"] = {}
    failed = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": content}}
    for status, description in _ERROR_STATUSES.items():
        responses[status] = {"description": description, "content": failed}
    if endpoint.path == "/health":
        responses["503"] = {
            "description": "A rank is missing or makes no progress.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    return responses


def _page(document: dict[str, Any]) -> str:
    """A page that needs nothing from elsewhere: clusters are often offline."""
    rows = "".join(
        f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(operation['summary'])}</p>{_parameters(document, operation)}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    style = (
        "body{font:16px system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.25rem .5rem;"
        "text-align:left;vertical-align:top}code{background:#f4f4f4}"
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>mlxconsole API</title>"
        f"<style>{style}</style><h1>mlxconsole API</h1><p>The OpenAPI document: "
        f'<a href="/openapi.json">/openapi.json</a></p>{rows}</html>'
    )


def _parameters(document: dict[str, Any], operation: dict[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code>{' *' if name in required else ''}</td>"
        f"<td><code>{html.escape(_kind(part))}</code></td></tr>"
        for name, part in schema["properties"].items()
    )
    return f"<table><tr><th>parameter (* required)</th><th>type</th></tr>{rows}</table>"


def _kind(schema: dict[str, Any]) -> str:
    """A short form of a JSON schema."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(part) for part in schema["anyOf"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema or "const" in schema:
        return json.dumps(schema.get("enum", schema.get("const")))
    limits = {"minimum": "≥", "maximum": "≤", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
    bounds = " ".join(f"{sign} {schema[key]}" for key, sign in limits.items() if key in schema)
    kind = str(schema.get("type", "any"))
    if kind == "array":
        kind = f"array of {_kind(schema.get('items', {}))}"
    return f"{kind} {bounds}".strip()
