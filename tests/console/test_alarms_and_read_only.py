"""The console on a cluster in trouble, and on one that it may only watch."""

from __future__ import annotations

from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.main_screen import MainScreen
from tests.support.console_pilot import Console


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
