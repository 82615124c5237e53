"""Responses that clients may come back to, in memory.

Owns the bounds: the oldest go first. A restart of the API process forgets all (documented).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from daemon.api.errors import ApiError

MAX_RESPONSES = 1_000
MAX_CHARACTERS = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response, and the conversation up to its end."""

    body: dict[str, Any]
    messages: list[dict[str, Any]]
    """As chat messages, without instructions (those count for one response only)."""
    input_items: list[dict[str, Any]]


class ResponseStore:
    """Least recently made go first."""

    def __init__(
        self, max_responses: int = MAX_RESPONSES, max_characters: int = MAX_CHARACTERS
    ) -> None:
        self._max_responses = max_responses
        self._max_characters = max_characters
        self._entries: OrderedDict[str, tuple[StoredResponse, int]] = OrderedDict()
        self._characters = 0

    def put(self, stored: StoredResponse) -> None:
        """Keep it, and forget what is over the bounds."""
        size = len(json.dumps(stored.body)) + len(json.dumps(stored.messages))
        self._entries[stored.body["id"]] = (stored, size)
        self._characters += size
        while len(self._entries) > self._max_responses or self._characters > self._max_characters:
            _, (_, gone) = self._entries.popitem(last=False)
            self._characters -= gone

    def get(self, response_id: str) -> StoredResponse | None:
        """None if it is not known (any more)."""
        entry = self._entries.get(response_id)
        return entry and entry[0]

    def find(self, response_id: str) -> StoredResponse:
        """As `get`.

        Raises:
            ApiError: 404.
        """
        stored = self.get(response_id)
        if stored is None:
            raise ApiError(404, f"Response with id '{response_id}' not found.", param="response_id")
        return stored

    def delete(self, response_id: str) -> None:
        """Forget it; 404 if it is not known."""
        self.find(response_id)
        _, size = self._entries.pop(response_id)
        self._characters -= size
