"""The console on a cluster in trouble, and on one that it may only watch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlxconsole.alert_settings import DEFAULTS, AlertSettings, Signals
from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.main_screen import MainScreen
from tests.support.console_pilot import Console

if TYPE_CHECKING:
    import pytest


async def test_a_dead_rank_raises_an_alert_and_its_return_clears_it() -> None:
    """Counted in the header, told in Events; read-only changes nothing about that."""
    source = FakeSource(seeded.cluster(2))
    source.read_only = True
    for rank in range(2):
        source.show(rank, seeded.frame(seeded.status(rank, 2)))
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 24), notifications=True) as pilot:
        running = Console(app, pilot)
        await running.shows("2/2 READY")
        source.show(1, seeded.frame(seeded.down(1, 2, "killed by signal 9")))
        await running.until(lambda: "| !" in running.lines()[0])
        await pilot.press("6")
        await running.shows("rank 1 is DOWN: killed by signal 9")
        source.show(1, seeded.frame(seeded.status(1, 2)))
        await running.until(lambda: (1, "down") not in app.alerts.active)
        await running.shows("alert over")


async def test_read_only_hides_and_blocks() -> None:
    """No key, no name, no word in the footer, and the header says why."""
    source = FakeSource(seeded.cluster(2))
    source.read_only = True
    source.show(0, seeded.frame(seeded.status(0, 2)))
    app = ConsoleApp(source)
    async with app.run_test(size=(140, 24), notifications=True) as pilot:
        running = Console(app, pilot)
        await running.shows("READ-ONLY")
        assert "Restart rank" not in running.text()
        await pilot.press("R")
        main = app.screen
        assert isinstance(main, MainScreen)
        assert "rank.restart" not in {command.name for command in main.commands()}
        await pilot.press("colon", *"rank.restart", "enter")
        await running.shows("no such command")
        assert source.acts == []


async def test_a_acknowledges_and_the_header_counts_new_ones_only() -> None:
    """What somebody looks after must not hide what comes next."""
    source = FakeSource(seeded.cluster(2))
    source.show(0, seeded.frame(seeded.status(0, 2)))
    source.show(1, seeded.frame(seeded.down(1, 2, "killed by signal 9")))
    # On a slow machine these ranks would be silent before the test is over.
    rules = {name: replace(bounds, enabled=name == "down") for name, bounds in DEFAULTS.items()}
    app = ConsoleApp(source, alerts=AlertSettings(rules))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        running = Console(app, pilot)
        await running.shows("| !1 |")
        await pilot.press("a")
        await running.shows("1 acknowledged")
        await running.shows("| (1 seen) |")
        source.lose(0, "no route")
        await running.shows("| !1 (1 seen) |")
        await pilot.press("a", "a")
        await running.shows("No new alert")
        await running.shows("| (2 seen) |")


async def test_bell_and_notice_are_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each for a new alert; the words can't act on the terminal."""
    heard: list[str] = []
    monkeypatch.setattr(ConsoleApp, "bell", lambda _app: heard.append("bell"))
    for wanted in (False, True):
        source = FakeSource(seeded.cluster(1))
        app = ConsoleApp(source, alerts=AlertSettings(signals=Signals(bell=wanted, notify=wanted)))
        async with app.run_test(size=(80, 24)) as pilot:
            driver = app._driver  # pyright: ignore[reportPrivateUsage] - what reaches the terminal
            assert driver is not None
            monkeypatch.setattr(driver, "write", heard.append)
            source.lose(0, "no\x1b[2Jroute")
            await Console(app, pilot).shows("!1")
        notices = [text for text in heard if text.startswith("\x1b]9;")]
        assert heard.count("bell") == len(notices) == int(wanted)
        assert all(text.count("\x1b") == 1 and "\x07" in text for text in notices)


async def test_a_cluster_that_is_not_there_says_what_starts_it() -> None:
    """The exact command; and once ranks answer, that nothing has happened yet."""
    source = FakeSource(seeded.cluster(2))
    app = ConsoleApp(source)
    app.store.start_command = "mlxconsole up --state-dir lab"
    async with app.run_test(size=(80, 24)) as pilot:
        running = Console(app, pilot)
        await running.shows("No line has come yet")
        for rank in range(2):
            source.lose(rank, "no daemon answers")
        await running.shows("No rank answers. Start them: mlxconsole up --state-dir lab")
        source.show(0, seeded.frame(seeded.status(0, 2), *seeded.log_lines(0, 3)))
        await running.until(lambda: "Start them" not in running.text())
        await pilot.press("L", "L", "L", "slash", *"nowhere", "enter", "h")
        await running.shows("No line is like that")
        await pilot.press("6")
        await running.shows("alert")
