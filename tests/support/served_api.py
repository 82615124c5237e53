"""The real API app on a real Hypercorn, in the test's own event loop, with any engine."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import openai

from daemon.api.app import make_app
from daemon.api.context import ApiContext
from daemon.api.serve import bind, serve
from daemon.settings import ApiPart, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from daemon.text.model import TextModel
    from tests.support.fake_engine import FakeEngine

GRACE_S = 0.7


@dataclass
class ServedApi:
    """A running server, its engine, and clients for it."""

    url: str
    engine: FakeEngine
    context: ApiContext
    http: httpx.AsyncClient
    openai: openai.AsyncOpenAI
    stop: asyncio.Event
    ended: asyncio.Task[None]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1])


@asynccontextmanager
async def served(
    engine: FakeEngine, text: TextModel, api: ApiPart | None = None
) -> AsyncGenerator[ServedApi]:
    """Serve on a free port until the block ends."""
    settings = dataclasses.replace(Settings(), api=api or ApiPart())
    context = ApiContext(settings, engine, lambda: text)
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop = asyncio.Event()
    task = asyncio.create_task(
        serve(
            make_app(context),
            listener,
            stop.wait,
            grace_s=GRACE_S,
            last_call=context.last_call,
        )
    )
    await context.start()
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as http,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield ServedApi(url, engine, context, http, client, stop, task)
    stop.set()
    await asyncio.wait_for(task, 10)
    context.close()
