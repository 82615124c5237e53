"""Errors as OpenAI's clients expect them: status, and an object with message, type, param, code.

Owns the one exception that endpoints raise and its JSON. Knows nothing of Quart.
"""

from __future__ import annotations

from typing import Any

from daemon.errors import ClusterError, http_code

RETRY_AFTER_S = {429: 1, 503: 2}


class ApiError(Exception):
    """A request that is answered with an error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that goes out."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` where trying again can help, and how to authenticate."""
        if self.status == 401:
            return {"WWW-Authenticate": "Bearer"}
        wait_s = RETRY_AFTER_S.get(self.status)
        return {} if wait_s is None else {"Retry-After": str(wait_s)}


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400."""
    return ApiError(400, message, param=param, code=code)


def unsupported(param: str, what: str) -> ApiError:
    """A 400 for a feature of OpenAI's that this server does not have."""
    return bad_request(f"{what} is not supported by this server.", param, "unsupported_parameter")


def from_cluster_error(error: ClusterError) -> ApiError:
    """The answer to what the engine raised."""
    status, kind, code = http_code(error)
    return ApiError(status, str(error) or type(error).__name__, kind=kind, code=code)
