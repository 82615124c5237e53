"""The order of the rank table: chosen by `<`, `>` and `-`; the cursor stays on its rank."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mlxconsole.source import seeded, seeded_work
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui import rank_columns
from mlxconsole.ui.app import ConsoleApp
from tests.support.console_pilot import Console

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlxconsole.store import Store


@asynccontextmanager
async def console(store: Store, size: tuple[int, int] = (120, 30)) -> AsyncGenerator[Console]:
    """A console on a store that stands still."""
    app = ConsoleApp(FakeSource(store.cluster), store)
    async with app.run_test(size=size) as pilot:
        running = Console(app, pilot)
        await running.shows("RANK STATE")
        yield running


def order(running: Console) -> list[int]:
    """The first ranks as their lines stand."""
    lines = running.lines()
    first = next(n for n, line in enumerate(lines) if "RANK STATE" in line) + 1
    numbers = (line[1:5].strip() for line in lines[first : first + 5])
    return [int(number) for number in numbers if number.isdecimal()]


async def test_the_cursor_keeps_its_rank_across_sorts() -> None:
    """Whoever sorts wants to see where this rank stands, not who stands here."""
    store = seeded_work.store(5, seconds=8)
    async with console(store) as running:
        await running.pilot.press("j", "j", "j")
        assert running.table.selected is store.ranks[3]
        seen: set[tuple[int, ...]] = set()
        for _ in range(8):
            await running.pilot.press("greater_than_sign")
            assert running.table.selected is store.ranks[3]
            await running.shows(">   3 ")
            seen.add(tuple(order(running)))
        await running.pilot.press("minus")
        assert running.table.selected is store.ranks[3]
        assert len(seen) > 1, "no column changed the order"


async def test_a_sorted_column_is_marked_and_turned() -> None:
    """By layers: the order of the ranks, or its reverse; before the first column is by rank."""
    async with console(seeded_work.store(5, seconds=8)) as running:
        await running.pilot.press("greater_than_sign", "greater_than_sign")
        await running.shows("LAYERSv")
        assert order(running) == [4, 3, 2, 1, 0]
        await running.pilot.press("minus")
        await running.shows("LAYERS^")
        assert order(running) == [0, 1, 2, 3, 4]
        await running.pilot.press("minus", "less_than_sign", "less_than_sign")
        await running.until(lambda: "LAYERSv" not in running.text())
        assert order(running) == [0, 1, 2, 3, 4]


async def test_the_order_follows_new_values_and_not_at_every_frame() -> None:
    """A rank that dies comes first, within two seconds, and takes the cursor along."""
    store = seeded_work.store(5, seconds=8)
    async with console(store) as running:
        await running.pilot.press("greater_than_sign", "G")
        await running.shows("STATEv")
        chosen = running.table.selected
        assert chosen is not None
        store.apply(ContactLost(chosen.member.rank, "no route", store.clock()))
        running.app.paint()
        assert order(running)[0] != chosen.member.rank, "lines change places in mid-look"
        store.clock.now_s += 2.5  # type: ignore[attr-defined]
        running.app.paint()
        await running.until(lambda: order(running)[0] == chosen.member.rank)
        assert running.table.selected is chosen


async def test_many_ranks_stand_worst_first() -> None:
    """Of 64 the one that is down must not be below the fold."""
    async with console(seeded_work.store(64, fault=True, seconds=8), (80, 24)) as running:
        await running.until(lambda: set(order(running)[:2]) == {32, 63})
        selected = running.table.selected
        assert selected is not None
        assert selected.member.rank == order(running)[0], "the cursor drew the window away"


def test_unknown_values_come_last_both_ways() -> None:
    """A rank that nobody has heard of is neither the fastest nor the slowest."""
    store = seeded_work.store(3, seconds=8)
    store.apply(ContactLost(1, "gone", store.clock()))
    views = list(store.ranks.values())
    for down in (True, False):
        ordered = rank_columns.ordered(views, "TOK/S", store.clock(), down=down)
        assert ordered[-1] == 1
        assert sorted(ordered) == [0, 1, 2]


def test_what_stands_in_one_line_of_memory() -> None:
    """Each part has its sign, what is there at all has a cell, the rest is free."""
    store = seeded_work.store(1, seconds=1)
    made = seeded.status(0, 1)
    made.memory.limit_bytes = 8 << 30
    made.memory.weights_bytes, made.memory.kv_bytes = 2 << 30, 1 << 30
    made.memory.mlx_active_bytes, made.memory.mlx_cache_bytes = 4 << 30, 1 << 30
    store.apply(FrameArrived(0, seeded.frame(made), store.clock()))
    column = next(c for c in rank_columns.COLUMNS if c.title == "MEM")
    assert column.cell(store.ranks[0], store.clock()) == "##=-.___"
    made.memory.limit_bytes = 0
    store.apply(FrameArrived(0, seeded.frame(made), store.clock()))
    assert column.cell(store.ranks[0], store.clock()) == "--"


def test_one_rank_has_no_columns_about_others() -> None:
    """Neither bubble nor links."""
    titles = {column.title for column in rank_columns.fit(200, ranks=1)}
    assert not titles & rank_columns.ALONE
    assert {column.title for column in rank_columns.fit(200, ranks=2)} >= rank_columns.ALONE
