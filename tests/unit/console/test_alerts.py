"""Alerts: what raises them, what ends them, and what must not."""

from __future__ import annotations

from mlxconsole.alerts import Alerts
from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.store import Store


class World:
    """One rank, its clock and its alerts."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.store = Store(seeded.cluster(1), clock=lambda: self.now_s)
        self.alerts = Alerts(self.store)
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
    assert world.alerts.active[0, "down"] == "rank 0: no contact: no daemon answers"
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
