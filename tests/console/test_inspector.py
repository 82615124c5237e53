"""All about one rank: beside the charts of a large screen, and on any after Enter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxconsole.log_entry import LogEntry
from mlxconsole.source import seeded_work
from mlxconsole.source.base import ContactLost
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui import inspector_text
from mlxconsole.ui.app import ConsoleApp
from tests.support.console_pilot import Console

if TYPE_CHECKING:
    from mlxconsole.store import Store


def troubled() -> Store:
    """Three ranks at work, the last of which had an error."""
    store = seeded_work.store(3, seconds=8)
    error = LogEntry(2, 10.0, "ERROR", "worker", "bad_frame peer=1")
    store.ranks[2].troubles = (*store.ranks[2].troubles, error)
    store.ranks[2].status.build = "Python 3.11.9, mlx 0.32.4"  # type: ignore[union-attr]
    return store


async def test_a_large_screen_has_the_inspector_of_the_selected_rank() -> None:
    """Memory, caches, links, last errors and build, without a key; it follows the cursor."""
    app = ConsoleApp(FakeSource(troubled().cluster), troubled())
    async with app.run_test(size=(200, 60)) as pilot:
        running = Console(app, pilot)
        await running.shows("Rank 0   * READY")
        for part in ("# weights", "a layer", "to rank 1: up, round trip p50", "whole step: p50"):
            await running.shows(part)
        await pilot.press("G")
        await running.shows("Rank 2   * READY")
        await running.shows("ERROR bad_frame peer=1")
        await running.shows("Python 3.11.9, mlx 0.32.4")
        await pilot.resize_terminal(170, 60)
        await running.until(lambda: "Rank 2   * READY" not in running.text())


def test_a_clock_that_agrees_has_no_sign_of_being_late() -> None:
    """-0.00 looks like a difference."""
    store = troubled()
    view = store.ranks[0]
    view.clock_skew_s = -0.002
    text = "\n".join(text for _, text in inspector_text.lines(view, store.clock(), 120))
    assert ", clock +0.00 s" in text


async def test_enter_opens_the_detail_and_escape_closes_it() -> None:
    """In place of the log; the cursor still moves, and Escape takes it back before a filter."""
    app = ConsoleApp(FakeSource(troubled().cluster), troubled())
    async with app.run_test(size=(80, 24)) as pilot:
        running = Console(app, pilot)
        await running.shows("FOLLOW")
        await pilot.press("slash", *"closed", "enter")
        await pilot.press("enter")
        await running.shows("Rank 0   * READY")
        assert "FOLLOW" not in running.text()
        await pilot.press("j")
        await running.shows("Rank 1   * READY")
        await pilot.press("escape")
        await running.shows("/closed dims others")
        await pilot.press("escape")
        await running.until(lambda: "/closed" not in running.text())


async def test_the_detail_of_a_lost_rank_says_so_and_keeps_what_was_known() -> None:
    """The address and the last figures are what one needs to go and look."""
    store = troubled()
    store.apply(ContactLost(1, "no route to host", store.clock()))
    app = ConsoleApp(FakeSource(store.cluster), store)
    async with app.run_test(size=(100, 40)) as pilot:
        running = Console(app, pilot)
        await pilot.press("j", "enter")
        await running.shows("Rank 1   ? READY")
        await running.shows("127.0.0.1:50101, control port 50201")
        await running.shows("tokens/s in --, out --")
        await pilot.press("3")
        await running.until(lambda: "Rank 1   ? READY" not in running.text())


async def test_a_rank_that_nobody_heard_of_has_a_detail_too() -> None:
    """Nothing known is no crash."""
    store = troubled()
    app = ConsoleApp(FakeSource(store.cluster))
    async with app.run_test(size=(80, 24)) as pilot:
        running = Console(app, pilot)
        await pilot.press("enter")
        await running.shows("Rank 0   ? UNKNOWN")
