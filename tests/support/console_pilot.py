"""A console under a pilot: what its screen says, and waiting until it says something."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.log_view import LogView
from mlxconsole.ui.rank_table import RankTable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from textual.pilot import Pilot

    from mlxconsole.source.base import Source
    from mlxconsole.store import Store


class Console:
    """An app under test, and its screen as text."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def table(self) -> RankTable:
        """The rank table."""
        return self.app.screen_stack[0].query_one(RankTable)

    @property
    def log(self) -> LogView:
        """The log."""
        return self.app.screen_stack[0].query_one("#log", LogView)

    def lines(self) -> list[str]:
        """What the screen shows."""
        compositor = self.app.screen._compositor  # pyright: ignore[reportPrivateUsage] no other way
        strips = compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def text(self) -> str:
        """What the screen shows, as one text."""
        return "\n".join(self.lines())

    async def until(self, true: Callable[[], bool], limit_s: float = 15.0) -> None:
        """Let the app work until something holds."""
        deadline_s = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < deadline_s, f"never came true; the screen:\n{self.text()}"
            await asyncio.sleep(0.02)

    async def shows(self, text: str) -> None:
        """Wait until the screen shows ``text``."""
        await self.until(lambda: text in self.text())


@asynccontextmanager
async def opened(
    source: Source, size: tuple[int, int], store: Store | None = None
) -> AsyncGenerator[Console]:
    """A console on a screen of that size, until the block ends."""
    app = ConsoleApp(source, store)
    async with app.run_test(size=size) as pilot:
        yield Console(app, pilot)
