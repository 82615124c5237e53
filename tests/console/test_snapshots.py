"""The screens as they looked when somebody last agreed to them: text and colours, in small files.

Text instead of SVG: a tenth of the size, and a change can be read in a diff. `make snapshots`
writes them anew. Store and clock stand still, so any difference is a change of the console.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlxconsole.source import seeded, seeded_work
from mlxconsole.source.fake import FakeSource
from mlxconsole.store import Store
from mlxconsole.ui.app import ConsoleApp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.segment import Segment

FOLDER = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("MLXCONSOLE_SNAPSHOTS") == "write"
SIZES = ((80, 24), (120, 40), (200, 60))
USUAL = (100, 30)
Drawn = list[list["Segment"]]


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction] - by pytest
    """Times of log lines don't depend on where the test runs."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def drawn(store: Store, size: tuple[int, int], *keys: str, theme: str = "") -> Drawn:
    """What a console on ``store`` shows after ``keys``."""
    app = ConsoleApp(FakeSource(store.cluster), store)
    async with app.run_test(size=size) as pilot:
        if theme:
            app.theme = theme
        app.paint()
        await pilot.pause()
        await pilot.press(*keys)
        app.paint()
        await pilot.pause()
        # There is no public way to what is shown.
        strips = app.screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage]
        return [list(strip) for strip in strips]


def text_of(screen: Drawn) -> str:
    """The characters."""
    lines = ["".join(segment.text for segment in line).rstrip() for line in screen]
    return "\n".join(lines) + "\n"


def colours_of(screen: Drawn) -> str:
    """For each line the styles in the order in which they come, without repeats."""
    lines: list[str] = []
    for line in screen:
        styles = [str(segment.style) for segment in line if segment.text.strip()]
        changes = [s for s, before in zip(styles, ["", *styles], strict=False) if s != before]
        lines.append(" | ".join(changes))
    return "\n".join(lines) + "\n"


def check(name: str, now: str) -> None:
    """Compare with what is kept, or keep it."""
    path = FOLDER / f"{name}.txt"
    if WRITE:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8"), f"{name} changed: `make snapshots` if meant"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("ranks", [1, 8, 64])
async def test_layouts(ranks: int, size: tuple[int, int]) -> None:
    """Every size of cluster on every size of screen."""
    screen = await drawn(seeded_work.store(ranks, seconds=8), size)
    check(f"ranks-{ranks}-{size[0]}x{size[1]}", text_of(screen))


@pytest.mark.parametrize("page", [2, 3, 4, 5, 6, 7, 8])
async def test_pages(page: int) -> None:
    """Each page by its key."""
    screen = await drawn(seeded_work.store(8, seconds=8), USUAL, str(page))
    check(f"page-{page}", text_of(screen))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("restart", ("R",)),
        ("drain", ("D",)),
        ("kill", ("X",)),
        ("help", ("question_mark",)),
        ("filter", ("slash",)),
        ("command", ("colon",)),
        ("rewound", ("left_square_bracket",)),
        ("waterfall", ("2", "v")),
        ("four-up", ("z",)),
        ("columns", ("z", "z")),
        ("detail", ("j", "enter")),
        ("sorted", ("greater_than_sign", "greater_than_sign", "minus")),
    ],
)
async def test_dialogs_and_states(name: str, keys: tuple[str, ...]) -> None:
    """What opens over the pages."""
    screen = await drawn(seeded_work.store(8, seconds=8), USUAL, *keys)
    check(name, text_of(screen))


async def test_trouble() -> None:
    """A rank that is down, and a cluster that nobody has heard of yet."""
    check("fault", text_of(await drawn(seeded_work.store(8, fault=True, seconds=8), USUAL)))
    check("empty", text_of(await drawn(Store(seeded.cluster(2), lambda: 0.0), USUAL)))


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
async def test_colours(theme: str) -> None:
    """Light and dark."""
    store = seeded_work.store(8, fault=True, seconds=8)
    check(theme, colours_of(await drawn(store, USUAL, theme=theme)))


async def test_mono(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without colours the words and glyphs are the same."""
    monkeypatch.setenv("NO_COLOR", "1")
    store = seeded_work.store(8, fault=True, seconds=8)
    check("fault", text_of(await drawn(store, USUAL)))
