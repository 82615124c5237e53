"""Rewind: one cursor for ranks, log, events and charts, while the present goes on."""

from __future__ import annotations

from mlxconsole.source import seeded
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.fake import FakeSource
from mlxconsole.store import Store
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.main_screen import MainScreen
from protos.control_pb2 import LogLine
from tests.support.console_pilot import Console


class Clock:
    """Set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


async def test_rewind_locks_all_panes_and_0_returns() -> None:
    """What stood beside a line when it came is what an operator asks after an incident."""
    clock, cluster = Clock(), seeded.cluster(2)
    store = Store(cluster, clock)
    source = FakeSource(cluster)
    app = ConsoleApp(source, store)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        running = Console(app, pilot)

        def second(n: int) -> None:
            clock.now_s += 1
            for rank in range(2):
                made = seeded.status(rank, 2)
                made.counters.tokens_out += 30 * n
                made.counters.steps += n
                if rank == 1 and n >= 15:
                    made = seeded.down(1, 2, "killed by signal 9")
                line = LogLine(time_s=1000 + n, event=f"rank_{rank}_second_{n:02}", sequence=n)
                store.apply(FrameArrived(rank, seeded.frame(made, line), clock.now_s))
            app.paint()

        for n in range(1, 21):
            second(n)
        await running.shows("1/2 READY")
        await pilot.press("left_square_bracket", "left_square_bracket")
        await running.shows("2/2 READY")
        await running.shows("REWOUND 10s")
        await running.shows("rank_1_second_10")
        assert "second_11" not in running.text()
        assert "killed" not in running.text()
        second(21)
        await pilot.press("p", "left_square_bracket", "left_square_bracket")
        await running.shows("REWOUND 10s")
        await pilot.press("R")
        assert isinstance(app.screen, MainScreen), "the past can't be changed"
        await running.shows("This is the past")
        assert "second_21" not in running.text()

        await pilot.press("5")
        await running.shows("rank 1 tok/s 30, most 30")
        await running.shows("\u28ff")
        await pilot.press("0")
        await pilot.press("1")
        await running.shows("killed by signal 9")
        await running.shows("second_21")
        await running.until(lambda: "REWOUND" not in running.text())
        for size in ((40, 10), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.press("5")
            await running.until(lambda w=size[0]: len(running.lines()[0]) == w)
            await running.shows("cluster tok/s")
