"""GET /health, /status and /metrics: for load balancers, people and Prometheus.

Owns what each says. One probe runs at a time, however many ask; it answers under load too.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from quart import Response

from daemon.api.http import json_response
from daemon.api.metrics import CONTENT_TYPE
from daemon.errors import ClusterError

if TYPE_CHECKING:
    from quart import Quart

    from daemon.api.context import ApiContext
    from daemon.api.engine import Engine

PROBE_WAIT_S = 10.0
PROBE_FRESH_S = 0.5


class Prober:
    """Shares one probe among all that ask for one at the same time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: asyncio.Task[float] | None = None
        self._ended_at = 0.0

    async def probe(self) -> float:
        """Seconds of a step through all ranks, begun half a second ago at most.

        Raises:
            ClusterError: a rank is missing or makes no progress.
            TimeoutError: no answer in time.
        """
        task = self._running
        if task is None or (task.done() and time.monotonic() - self._ended_at > PROBE_FRESH_S):
            task = self._running = asyncio.create_task(self._probe())
        return await asyncio.shield(task)

    async def _probe(self) -> float:
        try:
            async with asyncio.timeout(PROBE_WAIT_S):
                return await self._engine.probe()
        finally:
            self._ended_at = time.monotonic()


def register(app: Quart, context: ApiContext) -> None:
    """Add the endpoints."""
    prober = Prober(context.engine)

    @app.get("/health")
    async def health() -> Response:
        try:
            seconds = await prober.probe()
        except TimeoutError:
            return _unhealthy(f"no step came back within {PROBE_WAIT_S:g} s")
        except ClusterError as error:
            return _unhealthy(str(error))
        return json_response({"status": "ok", "probe_seconds": round(seconds, 6)})

    @app.get("/status")
    async def status() -> Response:
        return json_response(await _status(context))

    @app.get("/metrics")
    async def metrics() -> Response:
        context.metrics.sequences(await context.info(fresh=True))
        return Response(context.metrics.text(), content_type=CONTENT_TYPE)


def _unhealthy(reason: str) -> Response:
    body = {"status": "unavailable", "reason": reason}
    return json_response(body, 503, {"Retry-After": "2"})


async def _status(context: ApiContext) -> dict[str, Any]:
    info = await context.info(fresh=True)
    loading = context.start()
    loaded = loading.done() and loading.exception() is None
    ready = info is not None and info.ready and loaded
    waiting_for = ""
    if info is None:
        waiting_for = "rank 0's engine"
    elif not info.ready:
        waiting_for = info.waiting_for
    elif not loaded:
        waiting_for = "the tokenizer"
    return {
        "status": "ready" if ready else "starting",
        "waiting_for": waiting_for,
        "model": context.model_name,
        "max_model_len": info.max_context if info else None,
        "vocab_size": info.vocab_size if info else None,
        "layers": info.layers if info else None,
        "fingerprint": info.fingerprint if info else None,
        "world_size": context.settings.world_size,
        "epoch": info.epoch if info else None,
        "sequences_running": info.running if info else None,
        "requests_queued": info.queued if info else None,
        "started_at": context.started_at,
        "uptime_s": round(time.time() - context.started_at, 1),
    }
