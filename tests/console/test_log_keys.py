"""Filter, search, level, rank, wrap and time of the log; pages; command line and palette."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.help_screen import HelpScreen
from mlxconsole.ui.main_screen import MainScreen
from protos.control_pb2 import Event, LogLine, WatchFrame
from tests.support.console_pilot import Console, opened

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG = "long " + "word " * 40 + "tail_of_it"


def lines(count: int, first: int = 0) -> Iterable[LogLine]:
    """Numbered lines; every tenth says that a link timed out, after some other words."""
    for n in range(first, first + count):
        what = "link 3 timeout" if n % 10 == 5 else "step"
        level = "ERROR" if n % 10 == 5 else "INFO"
        yield LogLine(time_s=1000.0 + n, level=level, event=f"line_{n} {what}", sequence=n)


def filled(source: FakeSource) -> None:
    """Two ranks, 60 lines of rank 0, one of rank 1 and an event."""
    for rank in range(2):
        source.show(rank, seeded.frame(seeded.status(rank, 2)))
    source.show(0, seeded.frame(None, *lines(60)))
    other = LogLine(time_s=1010.5, level="WARNING", event=LONG, sequence=0)
    source.show(1, seeded.frame(None, other))
    death = Event(time_s=1050, kind="exit", text="worker 1: killed by signal 9", sequence=0)
    source.show(1, WatchFrame(events=[death]))


async def test_keys_of_the_log() -> None:
    """One session of a reader: each key does its thing, and no toggle undoes another."""
    source = FakeSource(seeded.cluster(2))
    filled(source)
    app = ConsoleApp(source)
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        running = Console(app, pilot)
        await running.shows("line_59")
        log = running.log

        await pilot.press("3")
        assert app.focused is log
        assert "READY" not in "\n".join(running.lines()[2:])

        await pilot.press("slash", *"link \\d time")
        await running.shows("dims others")
        assert "line_59" in running.text(), "dimmed, not hidden"
        await pilot.press("enter", "N")
        assert "line_55 link 3 timeout" in running.text()
        assert not log.following
        place = log.scroll_offset.y
        await pilot.press("n")
        assert "line_5 link 3 timeout" in running.text(), "goes round at the end"
        await pilot.press("N")
        assert "line_55 link 3 timeout" in running.text()
        assert log.scroll_offset.y == place

        await pilot.press("h")
        await running.shows("hides others")
        assert len(log.selection) == 6
        await pilot.press("L", "L")
        await running.shows(">=WARNING")
        await pilot.press("t", "t", "w")
        assert len(log.selection) == 6, "the filter survives other toggles"
        source.show(0, seeded.frame(None, *lines(10, first=60)))
        await running.until(lambda: len(log.selection) == 7)

        await pilot.press("escape")
        assert len(log.selection) == 8
        await running.shows("tail_of_it")  # wrapped
        assert "00:1" not in running.text()
        await pilot.press("l")
        await running.shows("rank 0 only")
        assert "tail_of_it" not in running.text()
        await pilot.press("p")
        source.show(0, seeded.frame(None, *lines(10, first=70)))
        await running.shows("PAUSED +10")
        assert "line_75" not in running.text()
        await pilot.press("escape", "p", "f")
        await running.shows("line_75")
        await pilot.press("escape")
        await running.shows("[1 Ranks]")


async def test_wrapped_lines_are_read_to_their_last_word() -> None:
    """The newest line ends in the last row; one that the window is too low for goes row by row."""
    source = FakeSource(seeded.cluster(2))
    filled(source)
    async with opened(source, (80, 24)) as running:
        await running.shows("line_59")
        log = running.log
        await running.pilot.press("3", "w")
        await running.shows("line_59")
        await running.pilot.press("g")
        await running.shows("line_0 step")
        while "tail_of_it" not in running.text():
            before = log.scroll_offset.y
            await running.pilot.press("j")
            assert log.scroll_offset.y == before + 1, "it stopped short of the long line"
        await running.pilot.press("G")
        await running.shows("line_59")
        assert log.following

        high = " ".join(f"word_{n}" for n in range(400))
        source.show(1, seeded.frame(None, LogLine(time_s=2000.0, event=high, sequence=1)))
        await running.shows("word_0 ")
        assert "word_399" not in running.text()
        place = log.scroll_offset.y
        for _ in range(200):
            if "word_399" in running.text():
                break
            await running.pilot.press("j")
        assert "word_399" in running.text()
        assert log.scroll_offset.y == place
        await running.pilot.press("k")
        assert "word_399" not in running.text()
        await running.pilot.press("f")

        digits = "0123456789" * 30
        source.show(1, seeded.frame(None, LogLine(time_s=2001.0, event=digits, sequence=2)))
        await running.shows("0123456789")
        rows = [found for row in running.lines() for found in re.findall(r"\d{20,}", row)]
        assert len(rows) > 5
        assert "".join(rows) == digits, "nothing lies below the scroll bar"
        await running.pilot.press("w", "f")


async def test_no_wrapped_line_is_passed_over_by_pages() -> None:
    """Down and up again: every line is seen, also those that take several rows."""
    source = FakeSource(seeded.cluster(2))
    wide = (LogLine(time_s=1.0 + n, event=f"no_{n}. {LONG}", sequence=n) for n in range(30))
    source.show(0, seeded.frame(None, *wide))
    async with opened(source, (80, 24)) as running:
        await running.shows("no_29.")
        await running.pilot.press("3", "w", "g")
        await running.shows("no_0.")
        for key, last in (("ctrl+d", "no_29."), ("ctrl+u", "no_0.")):
            seen = set(re.findall(r"no_\d+\.", running.text()))
            for _ in range(30):
                await running.pilot.press(key)
                seen |= set(re.findall(r"no_\d+\.", running.text()))
                if last in seen:
                    break
            assert seen == {f"no_{n}." for n in range(30)}


async def test_a_fast_typist_gets_what_was_meant() -> None:
    """Keys that come before the prompt has closed are for what follows."""
    source = FakeSource(seeded.cluster(2))
    filled(source)
    async with opened(source, (100, 24)) as running:
        await running.shows("line_59")
        await running.pilot.press("slash")
        for key in ("t", "i", "enter", "3", "h"):
            running.app.simulate_key(key)
        await running.shows("/ti hides others")
        await running.shows("[3 Logs]")


async def test_a_bad_pattern_is_told_and_escape_takes_the_filter_back() -> None:
    """What was there before the prompt comes back."""
    source = FakeSource(seeded.cluster(2))
    filled(source)
    app = ConsoleApp(source)
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        running = Console(app, pilot)
        await running.shows("line_59")
        await pilot.press("slash", *"step", "enter", "slash", *"(", "escape")
        pattern = running.log.wanted.pattern
        assert pattern is not None
        assert pattern.pattern == "step"
        await pilot.press("slash", *"(", "enter")
        await running.shows("No pattern")
        pattern = running.log.wanted.pattern
        assert pattern is not None
        assert pattern.pattern == "step"


async def test_pages_command_line_and_palette_reach_every_action() -> None:
    """Whoever forgot the key finds it by name."""
    source = FakeSource(seeded.cluster(2))
    filled(source)
    app = ConsoleApp(source)
    async with app.run_test(size=(100, 100), notifications=True) as pilot:
        running = Console(app, pilot)
        await running.shows("2/2 READY")
        main = app.screen_stack[0]
        assert isinstance(main, MainScreen)
        offered = {command.name for command in main.commands()}
        bound = {b.id for b in (*MainScreen.BINDINGS, *running.table.BINDINGS) if b.id}  # type: ignore[union-attr]
        assert bound <= offered

        await pilot.press("colon", *"page.e", "enter")
        await running.shows("killed by signal 9")
        assert "[6 Events]" in running.text()
        await pilot.press("colon", *"nonsense", "enter")
        await running.shows("nonsense: no such command")
        await pilot.press("colon", *"log.", "enter")
        await running.shows("log.: could be")
        await pilot.press("ctrl+p", *"list all keys help.open")
        await pilot.press("escape", "escape")
        await pilot.press("ctrl+p")
        await running.shows("rank.restart, R")
        await pilot.press(*"help.open")
        await running.shows("Help (help.open")
        await pilot.press("enter")
        await running.until(lambda: isinstance(app.screen, HelpScreen))
        for wanted in ("Wrap lines", "Next match", "ctrl+p", "Filter and command line"):
            await running.shows(wanted)
