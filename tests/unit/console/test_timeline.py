"""The recent past: bounded, one cursor, and series for charts that never lie about gaps."""

from __future__ import annotations

from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.store import Store
from mlxconsole.timeline import RANK_VIEWS, Timeline, step_times_ms, token_rates
from mlxconsole.ui.braille import bars


class World:
    """One rank on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.store = Store(seeded.cluster(1), clock=lambda: self.now_s)

    def second(self, steps: int, boot_id: str = "a") -> None:
        """A second in which the rank made ``steps`` steps of 20 ms, a token each."""
        self.now_s += 1.0
        made, old = seeded.status(0, 1), self.store.ranks[0].status
        made.boot_id = boot_id
        counters = old.counters if old and old.boot_id == boot_id else made.counters
        made.counters.steps = counters.steps + steps
        made.counters.compute_s = counters.compute_s + 0.02 * steps
        made.counters.tokens_out = counters.tokens_out + steps
        self.store.apply(FrameArrived(0, seeded.frame(made), self.now_s))
        self.store.timeline.record(self.store)


def test_series_have_gaps_where_nothing_is_known() -> None:
    """A restart makes no spike, an idle second no step time, a lost contact no rate."""
    world = World()
    for steps, boot_id in ((5, "a"), (5, "a"), (0, "a"), (7, "b"), (10, "b")):
        world.second(steps, boot_id)
    world.store.apply(ContactLost(0, "gone", world.now_s))
    world.now_s += 1
    world.store.timeline.record(world.store)
    pictures = world.store.timeline.until_shown(100)
    steps_ms = [v and round(v) for v in step_times_ms(pictures, 0)]
    assert steps_ms == [None, 20, None, None, 20, None]
    rates = token_rates(pictures, 0)
    assert rates == [None, 5.0, 2.5, None, 10.0, None]
    assert len(world.store.timeline.until_shown(2)) == 2
    assert step_times_ms([], 0) == []


def test_the_cursor_moves_within_what_is_kept() -> None:
    """Past the newest is now; the oldest is the limit; one picture a second at most."""
    world = World()
    timeline = world.store.timeline
    timeline.move(-5)
    assert timeline.shown is None
    for _ in range(20):
        world.second(1)
        timeline.record(world.store)
    assert len(timeline.pictures) == 20
    seen: list[float] = []
    for seconds in (5, -5, -5, 5, -100, 5, 100):
        timeline.move(seconds)
        seen.append(world.store.shown_at_s())
    assert seen == [20.0, 15.0, 10.0, 15.0, 1.0, 6.0, 20.0]
    assert timeline.shown is None
    timeline.move(-15)
    assert [p.at_s for p in timeline.until_shown(3)] == [3.0, 4.0, 5.0]


def test_many_ranks_are_kept_for_a_shorter_time() -> None:
    """The bound is on memory."""
    assert Timeline(1).pictures.maxlen == 1_800
    assert Timeline(64).pictures.maxlen == RANK_VIEWS // 64


def test_bars() -> None:
    """Two values a column, against the right edge; zero is a dot, unknown is none."""
    assert bars([4, 8], 1, 1, 8) == ["\u28fc"]
    assert bars([0, None], 2, 1, 8) == ["\u2800\u2840"]
    assert bars([8], 1, 2, 8) == ["\u28b8", "\u28b8"]
    assert bars([1, 2, 3, 8, 8], 1, 1, 8) == ["\u28ff"]
    assert bars([], 2, 1, 0.0) == ["\u2800\u2800"]
    assert bars([0, 0], 1, 1, 0.0) == ["\u28c0"]
