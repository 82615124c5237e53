"""Colours and signs: every theme, and every page in ASCII."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from mlxconsole.log_entry import LogEntry
from mlxconsole.source import seeded_work
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.ascii_filter import in_ascii
from mlxconsole.ui.look import COLOUR_BLIND, THEMES, Look, wants_ascii
from mlxconsole.ui.tabs import PAGES
from tests.support.console_pilot import Console


async def test_ascii_draws_every_page_and_dialog_without_anything_else() -> None:
    """Charts, borders, scroll bars, and letters that somebody else wrote, at their width."""
    store = seeded_work.store(8, fault=True)
    store.log.extend(
        [LogEntry(0, store.wall_clock() + 900, "INFO", "worker", "\u6771\u4eac \u00e9")]
    )
    app = ConsoleApp(FakeSource(store.cluster), store, look=Look(ascii=True))
    async with app.run_test(size=(200, 60)) as pilot:
        await Console(app, pilot).shows("6/8 READY")
        for keys in (*([str(n)] for n in range(len(PAGES), 0, -1)), ["question_mark"], ["q", "R"]):
            await pilot.press(*keys)
            await pilot.pause()
            app.paint()
            await pilot.pause()
            lines = screen(app)
            assert [c for line in lines for c in line if not c.isascii()] == [], keys
            assert {len(line) for line in lines} == {200}, keys
        await pilot.press("escape", "3")
        await Console(app, pilot).shows("???? ?")


def screen(app: ConsoleApp) -> list[str]:
    """What reaches the terminal: filters work behind what the compositor hands out."""
    strips = app.screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage]
    return ["".join(segment.text for segment in strip) for strip in strips]


def test_a_text_keeps_its_width() -> None:
    """Else all that stands right of it would move."""
    for text in (
        "\u2500\u2502\u250c",
        "\u28ff\u2800\u2840",
        "\u2581\u2587",
        "\u6771\u4eac",
        "caf\u00e9",
    ):
        assert cell_len(in_ascii(text)) == cell_len(text)
        assert in_ascii(text).isascii()
    assert in_ascii("\u28ff\u2800") == "% "


async def test_ctrl_t_goes_through_the_colours() -> None:
    """Dark, light, one for the colour-blind, and round."""
    store = seeded_work.store(2, seconds=2)
    app = ConsoleApp(FakeSource(store.cluster), store, look=Look(theme=COLOUR_BLIND.name))
    async with app.run_test(size=(80, 24)) as pilot:
        seen = [app.theme]
        for _ in THEMES:
            await pilot.press("ctrl+t")
            seen.append(app.theme)
    assert seen == [THEMES[2], *THEMES]


@pytest.mark.parametrize(
    ("environ", "encoding", "wanted"),
    [
        ({}, "UTF-8", False),
        ({}, "ANSI_X3.4-1968", True),
        ({"MLXCONSOLE_ASCII": "1"}, "UTF-8", True),
        ({"MLXCONSOLE_ASCII": "0"}, "ascii", False),
    ],
)
def test_when_ascii_is_wanted(environ: dict[str, str], encoding: str, wanted: bool) -> None:
    """Told so, or a terminal that knows nothing else."""
    assert wants_ascii(environ, encoding) == wanted
