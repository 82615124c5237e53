"""The console under a pilot: cursor, restart dialog, log, sizes, lost contact, no colour."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from textual.events import MouseScrollDown, MouseScrollUp

from daemon.errors import StaleGeneration
from mlxconsole.source import seeded
from mlxconsole.source.base import Action, ContactLost, FrameArrived
from mlxconsole.source.fake import FakeSource
from mlxconsole.store import Store
from mlxconsole.ui.action_dialog import ActionDialog
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.help_screen import HelpScreen
from mlxconsole.ui.log_view import LogView
from mlxconsole.ui.main_screen import MainScreen
from mlxconsole.ui.prompt import Prompt
from mlxconsole.ui.rank_table import RankTable
from protos.control_pb2 import LogLine
from tests.support.console_pilot import Console

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from textual.pilot import Pilot

RANKS = 3


class FedConsole(Console):
    """A console whose ranks are driven by hand."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[None], source: FakeSource) -> None:
        super().__init__(app, pilot)
        self.source = source


@asynccontextmanager
async def console(
    size: tuple[int, int] = (100, 30), ranks: int = RANKS
) -> AsyncGenerator[FedConsole]:
    """A console on ready ranks."""
    source = FakeSource(seeded.cluster(ranks))
    for rank in range(ranks):
        source.show(rank, seeded.frame(seeded.status(rank, ranks), *seeded.log_lines(rank, 5)))
    app = ConsoleApp(source)
    async with app.run_test(size=size, notifications=True) as pilot:
        running = FedConsole(app, pilot, source)
        await running.shows(f"{ranks}/{ranks} READY")
        yield running


async def test_the_cursor_moves_with_j_k_g_and_G() -> None:  # noqa: N802 - the key's name
    """The keys of every pager; the cursor never leaves the ranks."""
    async with console() as running:
        seen: list[int] = []
        for key in ("k", "j", "j", "j", "k", "g", "G", "up", "home", "end"):
            await running.pilot.press(key)
            seen.append(running.table.cursor)
        assert seen == [0, 1, 2, 2, 1, 0, 2, 1, 0, 2]
        await running.shows(">   2 * READY")


async def test_a_click_selects_a_rank() -> None:
    """Terminals have mice; a click below the last rank selects the last."""
    async with console() as running:
        await running.pilot.click(RankTable, offset=(5, 2))
        assert running.table.cursor == 1


async def test_restart_rests_on_cancel() -> None:
    """Enter, pressed too early, must do no harm; neither must Escape."""
    async with console() as running:
        for leave in ("enter", "escape"):
            await running.pilot.press("R")
            assert isinstance(running.app.screen, ActionDialog)
            assert running.app.focused is not None
            assert running.app.focused.id == "cancel"
            await running.pilot.press(leave)
            assert isinstance(running.app.screen, MainScreen)
            await running.shows("Not confirmed: nothing was done")
            running.app.clear_notifications()
            await running.until(lambda: "nothing was done" not in running.text())
        assert running.source.acts == []


async def test_the_dialog_fits_and_says_how_to_confirm() -> None:
    """On the smallest usual terminal: a label that is cut hides what the button does."""
    async with console(size=(80, 24)) as running:
        await running.pilot.press("R")
        await running.shows("Drain first (30s at most)")
        await running.shows("Tab to a button, Enter confirms it, Escape cancels")
        await running.pilot.press("escape", "X")
        await running.shows("type it, then Enter confirms, Escape cancels")


async def test_the_dialog_names_rank_generation_and_cost() -> None:
    """What is about to happen, and to whom."""
    async with console() as running:
        await running.pilot.press("j", "R")
        await running.shows("Restart rank 1 (generation 1)?")
        assert "3 live requests pause" in running.text()


async def test_confirming_sends_the_generation_that_was_seen() -> None:
    """The rank moves on while the dialog is open: the daemon must see the old generation."""
    async with console() as running:
        await running.pilot.press("j", "R")
        newer = seeded.status(1, RANKS)
        newer.generation = 2
        running.source.show(1, seeded.frame(newer))
        status = running.app.store.ranks[1]
        await running.until(lambda: status.status is not None and status.status.generation == 2)
        await running.pilot.press("right", "enter")
        await running.until(lambda: running.source.acts == [Action("restart", 1, 1)])
        await running.shows("rank 1: restart begins")


async def test_a_stale_generation_is_shown_and_recorded() -> None:
    """A refusal stays readable in the log after the message has gone."""
    async with console() as running:
        running.source.refusal = StaleGeneration("rank 0 is in generation 2 by now: look again")
        await running.pilot.press("R", "tab", "enter")
        await running.shows("restart of rank 0 refused: rank 0 is in generation 2 by now")
        await running.shows("Rank 0: restart refused")


async def test_a_rank_out_of_reach_is_not_restarted() -> None:
    """There is nobody to ask: no dialog, but a word why."""
    async with console() as running:
        running.source.lose(0, "no daemon answers")
        await running.shows("? READY")
        await running.pilot.press("R")
        assert isinstance(running.app.screen, MainScreen)
        await running.shows("Nothing to restart")


async def test_lost_contact_keeps_the_last_values_with_their_age() -> None:
    """A partial view stays usable, and comes back by itself."""
    async with console() as running:
        running.source.lose(1, "no daemon answers")
        await running.shows("2/3 READY")
        await running.shows("2/3 reached")
        line = next(text for text in running.lines() if re.search(r"\? READY \d+s ago", text))
        assert "9-17" in line
        running.source.show(1, seeded.frame(seeded.status(1, RANKS)))
        await running.shows("3/3 READY")


async def test_a_dead_worker_shows_its_cause() -> None:
    """The reason stands where the figures were."""
    async with console() as running:
        running.source.show(2, seeded.frame(seeded.down(2, RANKS, "killed by signal 9")))
        await running.shows("x DOWN")
        line = next(text for text in running.lines() if "x DOWN" in text)
        assert "killed by signal 9" in line


async def test_loading_shows_layers_done_of_total() -> None:
    """Progress in the unit that operators think in."""
    async with console() as running:
        running.source.show(0, seeded.frame(seeded.loading(0, RANKS, 4)))
        await running.shows("o LOADING 4/9")


async def test_the_log_follows_until_the_reader_scrolls() -> None:
    """New lines must not pull away what somebody reads."""
    async with console(size=(80, 16)) as running:
        await running.pilot.press("tab")
        assert running.app.focused is running.log
        await running.pilot.press("k", "k")
        await running.shows("f follows")
        place = running.log.scroll_offset.y
        lines = [LogLine(time_s=2e9, event=f"late_{n}", sequence=100 + n) for n in range(40)]
        running.source.show(0, seeded.frame(None, *lines))
        await running.shows("+40 new")
        assert running.log.scroll_offset.y == place
        await running.pilot.press("f")
        await running.shows("late_39")
        await running.shows("FOLLOW")
        await running.pilot.press("pageup")
        assert running.log.scroll_offset.y == running.log.max_scroll_y - running.log.size.height + 1
        await running.pilot.press("ctrl+d")
        assert running.log.following
        await running.pilot.press("g")
        assert running.log.scroll_offset.y == 0
        assert not running.log.following
        await running.pilot.press("G")
        assert running.log.following


async def wheel(running: Console, turn: type[MouseScrollUp | MouseScrollDown]) -> None:
    """Turn the mouse wheel over the log; the pilot has no public way."""
    post = running.pilot._post_mouse_events  # pyright: ignore[reportPrivateUsage]
    await post([turn], LogView)


async def test_the_wheel_stops_following() -> None:
    """Before the next line can pull the window back; and it finds the end again."""
    async with console(size=(80, 12)) as running:
        await running.until(lambda: running.log.scroll_offset.y == running.log.max_scroll_y == 10)
        await wheel(running, MouseScrollUp)
        assert not running.log.following
        await running.until(lambda: running.log.scroll_offset.y < running.log.max_scroll_y)
        for _ in range(3):
            await wheel(running, MouseScrollDown)
        await running.until(lambda: running.log.following)


async def test_the_reader_keeps_the_place_when_old_lines_are_dropped() -> None:
    """The ring drops from the front; the window moves with the text."""
    store = Store(seeded.cluster(1))
    store.log = type(store.log)(capacity=100)
    source = FakeSource(store.cluster)
    app = ConsoleApp(source, store)

    def some(first: int, count: int) -> list[LogLine]:
        return [LogLine(event=f"line_{n}", sequence=n) for n in range(first, first + count)]

    async with app.run_test(size=(80, 20)) as pilot:
        running = FedConsole(app, pilot, source)
        source.show(0, seeded.frame(seeded.status(0, 1), *some(0, 100)))
        await running.shows("line_99")
        await pilot.press("tab", "k")
        top = running.log.scroll_offset.y
        source.show(0, seeded.frame(None, *some(100, 20)))
        await running.until(lambda: running.log.scroll_offset.y == top - 20)
        assert f"line_{top}" in running.text()
        source.show(0, seeded.frame(None, *some(120, 500)))
        await running.until(lambda: running.log.scroll_offset.y == 0)


async def test_help_lists_the_keys_and_closes() -> None:
    """Read off the bindings, so a new key can't be forgotten."""
    async with console(size=(100, 120)) as running:
        await running.pilot.press("question_mark")
        assert isinstance(running.app.screen, HelpScreen)
        for wanted in ("Undrain rank", "Follow log", "Oldest line", "Last rank"):
            await running.shows(wanted)
        await running.pilot.press("escape")
        assert isinstance(running.app.screen, MainScreen)


async def test_every_key_has_a_name() -> None:
    """An id lets users and the footer refer to it."""
    for owner in (MainScreen, RankTable, LogView, Prompt, ActionDialog, HelpScreen):
        assert all(getattr(binding, "id", None) for binding in owner.BINDINGS), owner


async def test_q_leaves() -> None:
    """And with success."""
    async with console() as running:
        await running.pilot.press("q")
        await running.until(lambda: not running.app.is_running)
    assert not running.app.return_code


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40), (200, 60)])
async def test_every_size_shows_what_matters(size: tuple[int, int]) -> None:
    """No refusal on a small terminal, more columns on a large one."""
    async with console(size=size) as running:
        lines = running.lines()
        assert all(len(line) == size[0] for line in lines)
        assert "3/3 READY" in lines[0]
        assert ("[1 Ranks]" in lines[1]) == (size[1] >= 15)
        titles, first = lines[2:4] if size[1] >= 15 else lines[1:3]
        assert "* READY" in first
        assert ("MEM" in titles) == (size[0] >= 80)
        assert ("HOST" in titles) == (size[0] >= 120)
        assert ("WAIT%" in titles) == (size[0] >= 200)


async def test_resizing_keeps_cursor_and_focus() -> None:
    """A tiling window manager resizes all the time."""
    async with console(size=(200, 60)) as running:
        await running.pilot.press("j")
        for size in ((60, 15), (40, 10), (120, 40)):
            await running.pilot.resize_terminal(*size)
            await running.until(lambda w=size[0]: len(running.lines()[0]) == w)
            await running.shows(">   1 * READY")
        assert running.app.focused is running.table


async def test_more_ranks_than_lines_scroll_with_the_cursor() -> None:
    """The titles stay; the selected rank is always in sight."""
    async with console(size=(80, 12), ranks=16) as running:
        await running.pilot.press("G")
        await running.shows(">  15 * READY")
        assert running.lines()[1].strip().startswith("RANK")
        await running.pilot.press("g")
        await running.shows(">   0 * READY")


async def test_no_color_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual's monochrome filter needs a style on every segment."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(size=(90, 120)) as running:
        running.source.lose(0, "gone")
        running.source.show(1, seeded.frame(seeded.down(1, RANKS, "exit code 1")))
        await running.shows("exit code 1")
        await running.pilot.press("R", "j", "tab", "question_mark")
        await running.shows("Dialogs")


async def test_a_frame_for_a_rank_that_nobody_knows_is_ignored() -> None:
    """A rank from another picture of the cluster must not break this one."""
    store = Store(seeded.cluster(1))
    store.apply(FrameArrived(7, seeded.frame(seeded.status(0, 1)), 1.0))
    store.apply(ContactLost(7, "gone", 1.0))
    assert list(store.ranks) == [0]


async def test_a_tiny_terminal_does_not_break_it() -> None:
    """Somebody drags the border; nothing readable is promised, but it comes back."""
    async with console(size=(80, 24)) as running:
        for size in ((1, 1), (3, 2), (10, 4), (80, 24)):
            await running.pilot.resize_terminal(*size)
            running.app.paint()
        await running.shows("3/3 READY")
