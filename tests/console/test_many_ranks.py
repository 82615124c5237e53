"""64 ranks that write 100 log lines a second each: nothing is lost, the loop never stands still."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

import pytest

from mlxconsole.source import seeded
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from tests.support.console_pilot import Console

if TYPE_CHECKING:
    from protos.control_pb2 import LogLine, RankStatus

RANKS, LINES_PER_FRAME, FRAMES = 64, 25, 16
MOST_STALL_S = 0.1
"""Of processor time: what another program takes meanwhile is not the console's doing."""


def lines_of(rank: int) -> list[LogLine]:
    """All that a rank writes here, numbered and dated."""
    lines = list(seeded.log_lines(rank, LINES_PER_FRAME * FRAMES))
    for number, line in enumerate(lines):
        line.sequence, line.time_s = number, seeded.START_TIME_S + number / 100
    return lines


async def feed(
    source: FakeSource, ranks: list[RankStatus], lines: list[list[LogLine]], n: int
) -> None:
    """One frame of every rank, spread over a quarter of a second as they come over the network."""
    for status, own in zip(ranks, lines, strict=True):
        status.counters.steps += 10
        status.counters.tokens_out += 40
        status.counters.wall_s += 0.25
        status.counters.compute_s += 0.12
        first = n * LINES_PER_FRAME
        source.show(status.rank, seeded.frame(status, *own[first : first + LINES_PER_FRAME]))
        await asyncio.sleep(0.25 / RANKS)


async def run_console(monkeypatch: pytest.MonkeyPatch) -> tuple[ConsoleApp, list[float]]:
    """Show all of it; the console, and seconds of processor time of every callback."""
    held_s: list[float] = []
    plain = asyncio.Handle._run  # the only place that sees every callback

    def timed(handle: Any) -> None:
        began_s = time.thread_time()
        plain(handle)
        held_s.append(time.thread_time() - began_s)

    source = FakeSource(seeded.cluster(RANKS))
    ranks = [seeded.status(rank, RANKS) for rank in range(RANKS)]
    lines = [lines_of(rank) for rank in range(RANKS)]
    app = ConsoleApp(source)
    async with app.run_test(size=(200, 60)) as pilot:
        running = Console(app, pilot)
        await feed(source, ranks, lines, 0)
        await running.shows(f"{RANKS}/{RANKS} READY")
        gc.collect()
        gc.freeze()  # as on a terminal; else this process's other tests count, too
        monkeypatch.setattr(asyncio.Handle, "_run", timed)
        for n in range(1, FRAMES):
            await feed(source, ranks, lines, n)
        await running.until(lambda: app.store.log.end >= RANKS * LINES_PER_FRAME * FRAMES)
        await pilot.press("j")
        monkeypatch.undo()
        gc.unfreeze()
    return app, held_s


async def test_every_line_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """25,600 lines and 1,024 frames in some seconds: nothing is dropped, and keys are taken."""
    app, held_s = await run_console(monkeypatch)
    assert len(held_s) > RANKS * FRAMES
    assert app.store.log_lines_lost == 0


@pytest.mark.benchmark
async def test_the_loop_is_never_held_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key waits for whatever holds the loop: no callback may take 100 ms."""
    _, held_s = await run_console(monkeypatch)
    worst_s = sorted(held_s)[-3:]
    print(f"longest callbacks: {', '.join(f'{1000 * s:.0f} ms' for s in worst_s)}")  # noqa: T201
    assert worst_s[-1] < MOST_STALL_S
