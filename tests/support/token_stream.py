"""Reads one sequence of an engine as an async generator; closing it frees the sequence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from daemon.api.engine import Engine, GenerateCall, TokenBatch


async def generate(engine: Engine, call: GenerateCall) -> AsyncGenerator[TokenBatch, None]:
    """Batches to the last one; raises what the engine tells."""
    batches: asyncio.Queue[TokenBatch | ClusterError] = asyncio.Queue()
    leave = engine.submit(call, batches.put_nowait)
    try:
        ended = False
        while not ended:
            batch = await batches.get()
            if isinstance(batch, ClusterError):
                raise batch
            ended = bool(batch.finish_reason)
            yield batch
    finally:
        leave()
