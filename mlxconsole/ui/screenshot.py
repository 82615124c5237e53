"""Draws the console into an SVG: `python -m mlxconsole.ui.screenshot docs/images/console.svg`.

The picture is the app itself, headless, on a seeded cluster; the same bytes every time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlxconsole.source import seeded
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.fake import FakeSource
from mlxconsole.store import Store
from mlxconsole.ui.app import ConsoleApp

if TYPE_CHECKING:
    from collections.abc import Sequence

RANKS = 4


def seeded_store() -> Store:
    """Four ranks, one of them reading its layers after a restart, and some log."""
    now_s = 100.0
    store = Store(seeded.cluster(RANKS), clock=lambda: now_s)
    for rank in range(RANKS):
        made = seeded.loading(2, RANKS, 4) if rank == 2 else seeded.status(rank, RANKS)
        if rank == 2:
            made.generation, made.restarts, made.boot_id = 2, 1, "boot-2b"
        store.apply(FrameArrived(rank, seeded.frame(made), now_s - 2.5))
        if rank != 2:
            made.counters.tokens_out += 1_030
        store.apply(FrameArrived(rank, seeded.frame(made), now_s))
    lines = [(rank, line) for rank in range(RANKS) for line in seeded.log_lines(rank, 8)]
    for rank, line in sorted(lines, key=lambda pair: pair[1].time_s):
        store.apply(FrameArrived(rank, seeded.frame(None, line), now_s))
    return store


async def draw(width: int, height: int) -> str:
    """The picture as SVG text."""
    source = FakeSource(seeded.cluster(RANKS))
    app = ConsoleApp(source, seeded_store())
    async with app.run_test(size=(width, height)) as pilot:
        app.paint()
        await pilot.pause()
        return without_remote_fonts(app.export_screenshot(title="mlxconsole"))


def without_remote_fonts(svg: str) -> str:
    """The picture without fonts fetched from elsewhere: whoever looks at it calls nobody."""
    return re.sub(r"@font-face\s*{[^}]*}\s*", "", svg)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m mlxconsole.ui.screenshot", description=__doc__)
    parser.add_argument("path", type=Path, help="the SVG to write")
    parser.add_argument("--size", default="120x32", help="columns x lines (default 120x32)")
    given = parser.parse_args(arguments)
    width, height = (int(part) for part in given.size.split("x"))
    os.environ["TZ"] = "UTC"
    time.tzset()
    picture = asyncio.run(draw(width, height))
    given.path.parent.mkdir(parents=True, exist_ok=True)
    given.path.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
