"""API keys: who may use the endpoint.

Owns reading the key file and the check of `Authorization: Bearer`. Keys are kept as digests.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from quart import request

from daemon.api.errors import ApiError
from daemon.errors import SettingsError

if TYPE_CHECKING:
    from quart import Quart

OPEN_PATHS = {"/health", "/docs", "/openapi.json"}
"""For load balancers and readers of documentation."""


def read_keys(key_file: str) -> frozenset[bytes]:
    """Digests of the keys in a file; none if there is no file named.

    Raises:
        SettingsError: the file can't be read, or holds no key.
    """
    if not key_file:
        return frozenset()
    try:
        lines = Path(key_file).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"api.key_file {key_file} can't be read: {error}") from error
    keys = [line.partition("#")[0].strip() for line in lines]
    digests = frozenset(_digest(key) for key in keys if key)
    if not digests:
        raise SettingsError(f"api.key_file {key_file} holds no key: write one on each line")
    return digests


def register(app: Quart, digests: frozenset[bytes]) -> None:
    """Ask for a key on every path but the open ones; on none if there are no keys."""
    if not digests:
        return

    @app.before_request
    async def check_key() -> None:
        if request.path not in OPEN_PATHS:
            check(request.headers.get("Authorization", ""), digests)


def check(header: str, digests: frozenset[bytes]) -> None:
    """Refuse what is no known key.

    Raises:
        ApiError: 401 `invalid_api_key`.
    """
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise _refusal(
            "You didn't provide an API key: send it as 'Authorization: Bearer YOUR_KEY'."
        )
    given = _digest(key.strip())
    # Every key is compared, in constant time: the answer's speed tells nothing.
    if not sum(hmac.compare_digest(given, digest) for digest in digests):
        raise _refusal("Incorrect API key provided.")


def _refusal(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
