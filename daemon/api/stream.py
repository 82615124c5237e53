"""What a streamed answer looks like on the wire; chat and completions each have one.

Owns the interface between the endpoints' writers and `sse`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from daemon.api.choice import Update
    from daemon.api.errors import ApiError

DONE = b"data: [DONE]\n\n"
"""The end mark of chat and completions."""


class StreamWriter(Protocol):
    """Writes the events of one stream."""

    def opening(self) -> bytes:
        """Events before the first token."""
        ...

    def update(self, update: Update) -> bytes:
        """Events for what came."""
        ...

    def closing(self) -> bytes:
        """Events after the last token, the end mark included."""
        ...

    def failure(self, error: ApiError) -> bytes:
        """Events that end a stream that can't go on."""
        ...


def error_event(error: ApiError) -> bytes:
    """How chat and completions break off: an error object as an event."""
    return f"data: {json.dumps(error.body, ensure_ascii=False)}\n\n".encode()
