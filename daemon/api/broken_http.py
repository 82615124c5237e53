"""What Hypercorn refuses before any app sees it, in the words of the API: an error object.

Owns the body of those answers. Hypercorn has no setting for it, so its class is replaced by a
subclass; the way to say no is the only thing that differs.
"""

from __future__ import annotations

import json
from http import HTTPStatus

import h11
import hypercorn.protocol
from hypercorn.protocol.h11 import H11Protocol

from daemon.api.errors import ApiError
from daemon.api.meter import new_request_id


class ExplainingH11(H11Protocol):
    """HTTP/1.1 whose refusals have an error object and an id."""

    async def _send_error_response(self, status_code: int) -> None:
        error = ApiError(status_code, _message(status_code))
        body = json.dumps(error.body).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            (b"x-request-id", new_request_id().encode()),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def install() -> None:
    """Let Hypercorn use it, in this process."""
    hypercorn.protocol.H11Protocol = ExplainingH11  # pyright: ignore[reportPrivateImportUsage]


def _message(status_code: int) -> str:
    if status_code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return "The request's first line and headers are too long."
    return f"This is no HTTP request that can be read ({HTTPStatus(status_code).phrase})."
