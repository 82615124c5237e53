"""Draws the console's main screens: `python -m mlxconsole.ui.gallery docs/images`.

Each picture is the app itself, headless, on a seeded store whose clock stands still: the same bytes
every time, on every machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlxconsole.source import seeded, seeded_work
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.screenshot import without_remote_fonts
from mlxconsole.ui.tabs import PAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

RANKS = 8
SIZE = (120, 36)
DRAWN = ("requests", "charts", "why")
UNSTABLE = re.compile(r"terminal-\d+")
"""Textual names a picture's styles after a hash that differs between its versions."""


async def draw(page: str, *, fault: bool) -> str:
    """One page as SVG text."""
    store = seeded_work.store(RANKS, fault=fault)
    app = ConsoleApp(FakeSource(seeded.cluster(RANKS)), store)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(str(PAGES.index(page) + 1))
        app.paint()
        await pilot.pause()
        title = f"mlxconsole: {page}"
        return UNSTABLE.sub("terminal", without_remote_fonts(app.export_screenshot(title=title)))


async def draw_all(folder: Path) -> None:
    """The pages that a reader wants to see, and the ranks during a fault."""
    for page in DRAWN:
        write(folder / f"{page}.svg", await draw(page, fault=False))
    write(folder / "fault.svg", await draw("ranks", fault=True))


def write(path: Path, picture: str) -> None:
    """One file."""
    path.write_text(picture, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m mlxconsole.ui.gallery", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the SVGs go")
    given = parser.parse_args(arguments)
    os.environ["TZ"] = "UTC"
    time.tzset()
    given.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(draw_all(given.folder))


if __name__ == "__main__":
    main()
