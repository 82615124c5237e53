"""Server-sent events: framing, the end mark, errors in the middle, signs of life.

Owns the shape of a stream from its first byte to its last. Knows no chat and no completions.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from daemon.api.http import as_api_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from daemon.api.choice import Update
    from daemon.api.generation import Generation
    from daemon.api.stream import StreamWriter

ALIVE = b": keep-alive\n\n"


async def event_bytes(generation: Generation, writer: StreamWriter) -> AsyncGenerator[bytes, None]:
    """A whole stream of a running generation."""
    try:
        opening = writer.opening()
        if opening:
            yield opening
        async with aclosing(generation.updates()) as batches:
            async for updates in batches:
                yield _join(writer, updates) if updates else ALIVE
        yield writer.closing()
    except Exception as error:  # noqa: BLE001 - told to the client, logged by as_api_error
        yield writer.failure(as_api_error(error))


def _join(writer: StreamWriter, updates: list[Update]) -> bytes:
    return b"".join([writer.update(update) for update in updates])
