"""Alerts: what raises them, what ends them, and what must not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mlxconsole.alerts import Alerts
from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.store import Store

if TYPE_CHECKING:
    from mlxconsole.cluster import Cluster


class World:
    """One rank, its clock and its alerts."""

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.now_s = 100.0
        self.store = Store(cluster or seeded.cluster(1), clock=lambda: self.now_s)
        self.alerts = Alerts(self.store, every_s=0.0)
        self.status = seeded.status(0, 1)

    def after(self, seconds: float) -> set[str]:
        """The rules that hold after the rank has sent its status."""
        self.now_s += seconds
        self.store.apply(FrameArrived(0, seeded.frame(self.status), self.now_s))
        # The store keeps what it is given; a rank sends a new one each time.
        copy = type(self.status)()
        copy.CopyFrom(self.status)
        self.status = copy
        return self.rules()

    def rules(self) -> set[str]:
        """The rules that hold now."""
        self.alerts.look()
        return {rule for _, rule in self.alerts.active}


def test_a_rank_that_works_raises_nothing() -> None:
    """An alert that always stands is none."""
    world = World()
    assert world.rules() == set(), "before the first answer"
    for _ in range(100):
        world.status.counters.steps += 1
        assert world.after(1.0) == set()
    assert world.store.events.end == 0


def test_down_silence_and_lost_contact() -> None:
    """Each has its own words; each ends by itself and leaves two events."""
    world = World()
    world.after(0.25)
    world.now_s += 2.5
    assert world.rules() == {"silent"}
    assert world.after(0.25) == set()
    world.store.apply(ContactLost(0, "no daemon answers", world.now_s))
    assert world.rules() == {"down"}
    assert world.alerts.active[0, "down"].text == "rank 0: no contact: no daemon answers"
    world.status = seeded.down(0, 1, "killed by signal 9")
    assert world.after(0.25) == {"down"}
    world.status = seeded.status(0, 1)
    assert world.after(0.25) == set()
    kinds = [e.source for n in range(9) if (e := world.store.events.get(n))]
    assert kinds == ["alert", "alert over"] * 2


def test_a_rank_with_work_that_takes_no_step_is_stuck() -> None:
    """Alive but stuck; an idle rank is not."""
    world = World()
    world.after(0.25)
    assert world.after(9.0) == set()
    assert world.after(2.0) == {"stuck"}
    world.status.counters.steps += 1
    assert world.after(0.25) == set()
    world.status.sequences = 0
    assert world.after(60.0) == set()


def test_memory_does_not_flicker() -> None:
    """Raised over 90 %, cleared under 85 % only."""
    world = World()
    memory = world.status.memory
    memory.limit_bytes, world.status.sequences = 1000, 0
    for used, raised in ((890, False), (910, True), (870, True), (840, False), (880, False)):
        world.status.memory.mlx_active_bytes = used
        assert (world.after(0.25) == {"memory"}) == raised, used
    world.status.memory.limit_bytes = 0
    assert world.after(0.25) == set()


def test_three_restarts_in_two_minutes_are_a_loop() -> None:
    """What was before the console came does not count."""
    world = World()
    world.status.restarts, world.status.sequences = 7, 0
    assert world.after(0.25) == set()
    for expected in (set[str](), set[str](), {"restarts"}):
        world.status.restarts += 1
        assert world.after(10.0) == expected
    assert world.after(121.0) == set()


def test_a_clock_that_is_off_is_told_of_without_flicker() -> None:
    """Raised over 2 s either way, over under 1 s only."""
    world = World()
    world.status.sequences = 0
    world.after(0.25)
    view = world.store.ranks[0]
    for skew_s, raised in ((1.5, False), (-2.5, True), (1.5, True), (0.5, False), (1.5, False)):
        view.clock_skew_s = skew_s
        assert (world.rules() == {"clock"}) == raised, skew_s


def test_slow_first_tokens_are_told_of() -> None:
    """Of the last seconds: the histogram's counts only grow."""
    world = World()
    world.status.sequences = 0
    slow = [0] * 96
    world.status.first_token_times.counts.extend(slow)
    world.after(0.25)
    slow[84] = 20  # 10 us * 2^21, about 21 s
    world.status.first_token_times.counts[:] = slow
    assert world.after(0.5) == {"first token"}
    assert world.after(5.0) == set()


def working(world: World, sequences: int, busy: float) -> None:
    """A second in which one of two ranks computed a share of the time."""
    counters = world.status.counters
    counters.steps += 10
    counters.compute_s += busy
    counters.wall_s += 1.0
    world.status.world_size, world.status.sequences = 2, sequences


def test_a_bubble_counts_only_with_work_for_all_and_for_a_while() -> None:
    """One stream on two ranks always leaves one of them idle: that is no fault."""
    world = World()
    for _ in range(90):
        working(world, sequences=3, busy=0.4)
        assert world.after(1.0) == set()
    raised_after = 0
    while "bubble" not in world.rules():
        working(world, sequences=4, busy=0.4)
        world.after(1.0)
        raised_after += 1
    assert 59 <= raised_after <= 62
    for _ in range(4):
        working(world, sequences=4, busy=0.75)
        assert world.after(1.0) == {"bubble"}, "between the bounds it stays"
    for _ in range(4):
        working(world, sequences=4, busy=0.95)
        world.after(1.0)
    assert world.rules() == set()


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.2"])
def test_a_slow_link_to_another_machine_is_told_of_above_a_floor(host: str) -> None:
    """Three times as long, but still a millisecond: nobody needs to get up.

    On one machine the ranks wait for its cores: 30 to 100 ms under load, on the loopback.
    """
    pair = seeded.cluster(2)
    other = replace(pair.members[1], host=host)
    world = World(replace(pair, members=(pair.members[0], other)))
    link = world.status.links.add(peer=1, rtt_p50_s=0.0003, rtt_p99_s=0.003)
    for _ in range(40):
        world.status.counters.steps += 1
        assert world.after(1.0) == set()
    link = world.status.links[0]
    link.rtt_p99_s = 0.05
    for _ in range(40):
        world.status.counters.steps += 1
        world.after(1.0)
    if host == "127.0.0.1":
        assert world.rules() == set()
        return
    assert world.rules() == {"link"}
    assert "to rank 1" in world.alerts.active[0, "link"].text


def test_a_growing_queue_is_told_of_until_it_stops_growing() -> None:
    """A long queue that gets shorter is on its way; a short one is none."""
    world = World()
    for depth, raised in ((0, False), (14, False), (30, True), (30, True), (25, True)):
        world.status.counters.steps += 1
        world.status.queue_depth = depth
        assert (world.after(5.0) == {"queue"}) == raised, depth
    world.status.counters.steps += 1
    world.status.queue_depth = 10
    assert world.after(5.0) == set()


def test_lost_log_lines_are_told_of() -> None:
    """Those that the worker dropped, and those that this console was too slow for."""
    world = World()
    world.status.sequences = 0
    world.after(1.0)
    world.status.counters.log_lines_dropped = 60
    assert world.after(1.0) == set()
    world.store.ranks[0].lines_lost = 50
    assert world.after(1.0) == {"log drops"}
    assert world.after(61.0) == set()


def test_acknowledged_alerts_hold_but_are_not_new() -> None:
    """What comes after that is new again, and who said so stands in the events."""
    world = World()
    world.status = seeded.down(0, 1, "killed by signal 9")
    heard: list[str] = []
    world.alerts.on_new = heard.append
    assert world.after(1.0) == {"down"}
    assert (world.alerts.fresh, len(heard)) == (1, 1)
    assert world.alerts.acknowledge() == 1
    assert world.after(1.0) == {"down"}
    assert (world.alerts.fresh, world.alerts.acknowledge()) == (0, 0)
    world.status = seeded.status(0, 1)
    assert world.after(1.0) == set()
    world.status = seeded.down(0, 1, "killed by signal 9")
    world.after(1.0)
    assert (world.alerts.fresh, len(heard)) == (1, 2)


def test_ranks_are_looked_at_once_a_second_but_a_death_at_once() -> None:
    """64 ranks at every paint would cost more than the paint."""
    world = World()
    world.alerts = Alerts(world.store)
    world.status.memory.limit_bytes = world.status.memory.mlx_active_bytes
    assert world.after(0.0) == {"memory"}
    world.status.memory.limit_bytes *= 10
    assert world.after(0.5) == {"memory"}
    assert world.after(0.6) == set()
    world.status = seeded.down(0, 1, "killed")
    assert world.after(0.01) == {"down"}
