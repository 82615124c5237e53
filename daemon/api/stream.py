"""What a streamed answer looks like on the wire; chat and completions each have one.

Owns the interface between the endpoints' writers and `sse`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from daemon.api.choice import Update


class StreamWriter(Protocol):
    """Writes the events of one stream."""

    def opening(self) -> bytes:
        """Events before the first token."""
        ...

    def update(self, update: Update) -> bytes:
        """Events for what came."""
        ...

    def closing(self) -> bytes:
        """Events after the last token, before the end mark."""
        ...
