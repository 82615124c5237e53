"""Ranks that stay away: the others carry their layers, and give them back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.engine.absence import Absence
from daemon.engine.route import next_rank
from daemon.errors import NotReady
from daemon.messages import Plan
from daemon.settings import LimitsPart
from tests.support.fake_cluster import FakeCluster, expected


class Clock:
    """The leader's time, in the test's hands."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        """Now."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands still unless moved."""
    it = Clock()
    monkeypatch.setattr("daemon.engine.leader.time", it)
    return it


def stay_away(cluster: FakeCluster, clock: Clock, rank: int) -> None:
    """Lose a rank and wait for longer than the limit."""
    cluster.kill(rank)
    cluster.settle()
    cluster.leader.tick()
    clock.now_s += 21.0
    cluster.leader.tick()


@pytest.mark.parametrize("away", [1, 2, 3])
def test_the_others_take_the_layers_and_give_them_back(clock: Clock, away: int) -> None:
    """Begun with all ranks, continued without one, ended with all: not a token differs."""
    cluster = FakeCluster(4)
    cluster.submit("long", (1, 2, 3), 90)
    for _ in range(60):
        cluster.step()
    stay_away(cluster, clock, away)
    told = len(cluster.texts["long"])
    while len(cluster.texts["long"]) < told + 20:
        assert cluster.step()
    assert cluster.ranks[away - 1].shard.loads[-1] == (away - 1, away + 1)
    cluster.boot(away)
    cluster.settle()
    assert cluster.texts["long"] == expected((1, 2, 3), 90)
    assert cluster.ends == {"long": "length"}
    assert [cluster.ranks[r].shard.loads[-1] for r in range(4)] == [(r, r + 1) for r in range(4)]


def test_rank_0_alone_carries_all(clock: Clock) -> None:
    """Of two ranks, one is left."""
    cluster = FakeCluster(2)
    cluster.settle()
    stay_away(cluster, clock, 1)
    cluster.submit("alone", (1, 2, 3), 9)
    cluster.settle()
    assert cluster.texts["alone"] == expected((1, 2, 3), 9)
    assert cluster.ranks[0].shard.loads == [(0, 1), (0, 2)]


def test_before_the_limit_everybody_waits(clock: Clock) -> None:
    """Loading twice costs more than a short wait."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.kill(1)
    cluster.settle()
    cluster.leader.tick()
    clock.now_s += 19.0
    cluster.leader.tick()
    assert cluster.leader.waiting_for == "waiting for rank 1 to join"
    assert cluster.ranks[0].shard.loads == [(0, 1)]


def test_a_rank_that_has_never_been_there_is_waited_for(clock: Clock) -> None:
    """People start machines one after the other."""
    cluster = FakeCluster(2)
    del cluster.ranks[1]
    cluster.settle()
    cluster.leader.tick()
    clock.now_s += 1000.0
    cluster.leader.tick()
    assert "waiting for rank 1" in cluster.leader.waiting_for


def test_without_the_memory_requests_are_refused_with_the_reason(clock: Clock) -> None:
    """And not after a minute: 503 says when to come again."""
    cluster = FakeCluster(2)
    cluster.fewest = 2
    cluster.settle()
    cluster.submit("live", (1, 2), 50)
    for _ in range(10):
        cluster.step()
    stay_away(cluster, clock, 1)
    cluster.submit("new", (1, 2), 5)
    cluster.settle()
    for request_id in ("live", "new"):
        error = cluster.ends[request_id]
        assert isinstance(error, NotReady)
        assert str(error) == (
            "rank 1 is away, and the others can't take its layers: 4 GB are missing"
        )
    cluster.boot(1)
    cluster.settle()
    cluster.submit("later", (1, 2), 5)
    cluster.settle()
    assert cluster.texts["later"] == expected((1, 2), 5)


@given(
    story=st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from(["kill", "return", "wait", "run"])),
        max_size=25,
    )
)
@settings(max_examples=60, deadline=None)
def test_whoever_comes_and_goes_no_token_changes(story: list[tuple[int, str]]) -> None:
    """Any order of losses, absences and returns."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr("daemon.engine.leader.time", clock)
        patch.setattr("daemon.engine.suspects.MOST_LOSSES", 1000)
        # Long absences add up: here nobody's request may end by its own limit.
        cluster = FakeCluster(4, limits=LimitsPart(recovery_timeout_s=1e6))
        cluster.submit("long", tuple(range(9)), 40)
        while cluster.leader.waiting_for:
            cluster.step()
        for rank, what in story:
            if what == "kill" and rank in cluster.ranks:
                cluster.kill(rank)
            elif what == "return" and rank not in cluster.ranks:
                cluster.boot(rank)
            elif what == "wait":
                cluster.leader.tick()
                clock.now_s += 21.0
                cluster.leader.tick()
            for _ in range(7):
                cluster.step()
            clock.now_s += 0.1
        for rank in range(1, 4):
            if rank not in cluster.ranks:
                cluster.boot(rank)
        cluster.settle()
        assert cluster.texts["long"] == expected(tuple(range(9)), 40)


def test_a_moment_of_work_ends_the_wait(clock: Clock) -> None:
    """Requests wait for at most a minute in one piece, not in all: steps ran in between."""
    cluster = FakeCluster(2)
    cluster.submit("long", (1, 2, 3), 40)
    for _ in range(10):
        cluster.step()
    for _ in range(5):  # without a look at deadlines while it runs
        cluster.kill(1)
        while not cluster.leader.waiting_for:
            cluster.step()
        cluster.leader.tick()
        clock.now_s += 19.0
        cluster.boot(1)
        while cluster.leader.waiting_for:
            cluster.step()
        for _ in range(8):
            cluster.step()
    cluster.settle()
    assert cluster.texts["long"] == expected((1, 2, 3), 40)


def test_an_absence_is_told_once() -> None:
    """And again when more ranks are missing, or after a return."""
    absence = Absence(10.0)
    assert absence.overdue((2,), 0.0) == ()
    assert absence.overdue((2,), 10.0) == ()
    assert absence.overdue((2,), 10.5) == (2,)
    assert absence.overdue((2,), 11.0) == ()
    assert absence.overdue((1, 2), 12.0) == ()
    assert absence.overdue((1, 2), 22.5) == (1, 2)
    assert absence.overdue((), 23.0) == ()
    assert absence.overdue((2,), 24.0) == ()
    assert absence.overdue((2,), 35.0) == (2,)


def test_steps_pass_over_ranks_without_layers() -> None:
    """Wherever they are."""
    plan = Plan("f", ((0, 2), (0, 0), (2, 5), (0, 0)))
    assert [next_rank(plan, rank) for rank in (0, 2)] == [2, None]
