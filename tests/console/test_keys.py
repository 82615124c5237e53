"""Keys and what tells of them can't disagree; lines and counters that come in a bad order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.widgets import Footer
from textual.widgets._footer import FooterKey  # pyright: ignore[reportPrivateImportUsage]

from mlxconsole.source import seeded
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.fake import FakeSource
from mlxconsole.store import Store
from mlxconsole.ui import link_table, rank_columns
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.commands import shown_key
from mlxconsole.ui.help_screen import COLUMN_WIDTH, HelpScreen, key_lines, legend
from mlxconsole.ui.main_screen import MainScreen
from mlxconsole.ui.rank_table import RankTable
from mlxconsole.ui.request_table import RequestTable
from mlxconsole.ui.text_view import TextView
from protos.control_pb2 import LogLine
from tests.support.console_pilot import Console, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.binding import BindingType


def bound(bindings: Sequence[BindingType]) -> list[Binding]:
    """Those with all their particulars."""
    return [binding for binding in bindings if isinstance(binding, Binding)]


async def test_the_footer_shows_the_bindings_that_are_meant_for_it() -> None:
    """Each with the words of its binding, none that the page refuses, and they fit into 80."""
    async with opened(FakeSource(seeded.cluster(2)), (80, 24)) as running:
        wanted = {b.description for b in bound(MainScreen.BINDINGS) if b.show}

        def told() -> set[str]:
            return {
                key.description for key in running.app.screen.query_one(Footer).query(FooterKey)
            }

        await running.until(lambda: told() == wanted)
        await running.until(lambda: running.lines()[-1].rstrip().endswith("q Quit"))
        await running.pilot.press("2")
        await running.until(lambda: told() == wanted - {"Detail"})


async def test_the_help_lists_every_key_of_every_part() -> None:
    """Keys and words as they are bound, whatever was added last."""
    async with opened(FakeSource(seeded.cluster(2)), (200, 100)) as running:
        await running.pilot.press("question_mark")
        assert isinstance(running.app.screen, HelpScreen)
        await running.shows("Everywhere")
        for owner in (MainScreen, RankTable, TextView, RequestTable, HelpScreen):
            for binding in bound(owner.BINDINGS):
                if owner is not HelpScreen:
                    await running.shows(f"{shown_key(binding.key):<15} {binding.description}"[:40])
            assert len(key_lines(owner.BINDINGS)) == len(bound(owner.BINDINGS)), "one has no id"


async def test_the_help_explains_every_column() -> None:
    """BUB% and RST are nobody's words; and what is added to a table is explained, too."""
    async with opened(FakeSource(seeded.cluster(2)), (80, 24)) as running:
        await running.pilot.press("question_mark")
        await running.shows("G columns")
        await running.pilot.press("G")
        await running.shows("BULK         large messages")
        await running.pilot.press("g")
        await running.shows("Everywhere")
    lines = legend()
    for column in rank_columns.COLUMNS:
        assert any(line[2:14].strip() == column.title for line in lines), column.title
        assert column.means, column.title
    assert " ".join(link_table.MEANS) == " ".join(f"{link_table.TITLE}{link_table.TROUBLE}".split())


async def test_nothing_in_the_help_is_wider_than_its_column() -> None:
    """A line that is too long takes the one beside it out of line."""
    app = ConsoleApp(FakeSource(seeded.cluster(2)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        screen = app.screen
        assert isinstance(screen, HelpScreen)
        assert [line for line in screen.lines if len(line) > COLUMN_WIDTH] == []


async def test_a_late_line_goes_where_its_time_belongs() -> None:
    """Ranks' frames overtake each other; what is read is one log."""
    source = FakeSource(seeded.cluster(2))
    app = ConsoleApp(source)

    def line(rank: int, time_s: float) -> None:
        made = LogLine(time_s=time_s, event=f"at_{time_s:g}_of_{rank}", sequence=int(time_s))
        source.show(rank, seeded.frame(seeded.status(rank, 2), made))

    async with app.run_test(size=(80, 24)) as pilot:
        running = Console(app, pilot)
        for time_s in (10.0, 12.0, 14.0):
            line(0, time_s)
        await running.shows("at_14_of_0")
        line(1, 11.0)
        line(1, 13.0)
        await running.shows("at_13_of_1")
        told = [text for text in running.text().split() if text.startswith("at_")]
        assert told == ["at_10_of_0", "at_11_of_1", "at_12_of_0", "at_13_of_1", "at_14_of_0"]


async def test_counters_that_begin_anew_make_no_spike() -> None:
    """A restarted rank counts from zero: neither a huge rate nor a negative one is shown."""
    clock = [100.0]
    store = Store(seeded.cluster(1), clock=lambda: clock[0])
    async with opened(FakeSource(seeded.cluster(1)), (120, 36), store) as running:
        for second in range(1, 13):
            clock[0] += 1.0
            made = seeded.status(0, 1)
            made.boot_id = "first" if second < 7 else "second"
            made.counters.tokens_out = 1_000_000 + 50 * second if second < 7 else 50 * second
            store.apply(FrameArrived(0, seeded.frame(made), clock[0]))
            running.app.paint()
            await running.pilot.pause()
        await running.shows("cluster tok/s 50, most 50")
