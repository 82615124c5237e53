"""Starts the sequences of a request, for as long as the request lasts, and counts them.

Owns the metrics of generation. Called by the endpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import request

from daemon.api.generation import Generation
from daemon.api.http import enter
from daemon.api.meter import CLEANUP_KEY, STARTED_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.api.choice import Choice
    from daemon.api.context import ApiContext
    from daemon.api.engine import GenerateCall


async def start_generation(
    context: ApiContext,
    calls: Sequence[GenerateCall],
    choices: Sequence[Choice],
    prompt_tokens: int,
) -> Generation:
    """A generation that runs until the answer is out or the client has left."""
    generation = Generation(
        context.engine,
        calls,
        choices,
        prompt_tokens=prompt_tokens,
        pause_s=context.pause_s,
    )
    started: float = request.scope[STARTED_KEY]  # type: ignore[typeddict-item]
    # Left in reverse order: counted when the sequences have ended.
    request.scope[CLEANUP_KEY].callback(_count, context, generation, started)  # type: ignore[typeddict-item]
    context.generations.add(generation)
    return await enter(generation)


def _count(context: ApiContext, generation: Generation, started: float) -> None:
    context.generations.discard(generation)
    usage, metrics = generation.usage(), context.metrics
    metrics.prompt_tokens.inc(usage.prompt_tokens)
    metrics.cached_tokens.inc(usage.cached_tokens)
    metrics.completion_tokens.inc(usage.completion_tokens)
    if generation.first_token_at is not None:
        metrics.first_token.observe(generation.first_token_at - started)
