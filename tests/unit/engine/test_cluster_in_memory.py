"""Leader, followers, scheduler and membership together, without processes."""

from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.engine.interfaces import Cancel, Probe
from daemon.engine.suspects import MOST_LOSSES
from daemon.errors import ModelError, NotReady, QueueFull, StepFailed
from daemon.messages import Hello
from tests.support.fake_cluster import FakeCluster, expected


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
def test_streams_get_exactly_their_own_tokens(world_size: int) -> None:
    """Pipelining and chunked prefill must not mix sequences up."""
    cluster = FakeCluster(world_size)
    prompts = {f"r{i}": tuple(range(i + 1, 3 * i + 3)) for i in range(12)}
    for request_id, prompt in prompts.items():
        cluster.submit(request_id, prompt, 9)
    cluster.settle()
    assert cluster.texts == {r: expected(p, 9) for r, p in prompts.items()}
    assert set(cluster.ends.values()) == {"length"}


def test_finished_sequences_are_forgotten_everywhere() -> None:
    """A stage that keeps a finished sequence's cache runs out of memory some day."""
    cluster = FakeCluster(3)
    for number in range(5):
        cluster.submit(f"r{number}", (1, 2, 3), 4)
    cluster.settle()
    assert [rank.shard.held for rank in cluster.ranks.values()] == [{}, {}, {}]
    assert cluster.leader.sequences == 0


@given(
    world_size=st.integers(2, 4),
    kills=st.lists(st.tuples(st.integers(1, 25), st.integers(1, 3)), max_size=4),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_killed_followers_change_no_token(
    world_size: int, kills: list[tuple[int, int]], lengths: list[int]
) -> None:
    """The signature of the product: a lost rank is a pause, never a different answer."""
    cluster = FakeCluster(world_size)
    prompts = {f"r{i}": tuple(range(i, i + n)) for i, n in enumerate(lengths)}
    for request_id, prompt in prompts.items():
        cluster.submit(request_id, prompt, 7)
    for steps, rank in kills:
        for _ in range(steps):
            cluster.step()
        victim = 1 + rank % (world_size - 1)
        cluster.kill(victim)
        cluster.step()
        cluster.boot(victim)
    cluster.settle()
    assert cluster.texts == {r: expected(p, 7) for r, p in prompts.items()}
    assert set(cluster.ends.values()) == {"length"}


def test_survivors_keep_their_layers() -> None:
    """Only the lost rank reads weights again: that is what makes recovery fast."""
    cluster = FakeCluster(3)
    cluster.settle()
    cluster.kill(1)
    cluster.settle()
    cluster.boot(1)
    cluster.settle()
    assert [len(rank.shard.loads) for _, rank in sorted(cluster.ranks.items())] == [1, 1, 1]
    assert cluster.leader.epoch == 2
    assert cluster.leader.waiting_for == ""


def test_waiting_names_the_missing_rank() -> None:
    """An operator must read which machine to look at."""
    cluster = FakeCluster(3)
    cluster.settle()
    cluster.kill(2)
    cluster.settle()
    assert cluster.leader.waiting_for == "waiting for rank 2 to join"
    assert cluster.ranks[0].notes.states[-1] == ("JOINING", "waiting for rank 2 to join")


def test_a_failing_step_fails_its_requests_only() -> None:
    """One bad sequence must not take the others or the engine with it."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.ranks[1].shard.fail_on = {1}
    cluster.submit("bad", (1, 2, 3), 4)
    cluster.settle()
    cluster.submit("good", (1, 2, 3), 4)
    cluster.settle()
    assert isinstance(cluster.ends["bad"], StepFailed)
    assert "rank 1: RuntimeError: out of memory" in str(cluster.ends["bad"])
    assert cluster.texts["good"] == expected((1, 2, 3), 4)
    assert cluster.ranks[0].shard.held == cluster.ranks[1].shard.held == {}


def test_cancelled_requests_leave_at_the_next_step() -> None:
    """A client that leaves must not cost anything further."""
    cluster = FakeCluster(2)
    cluster.settle()
    sequence = cluster.submit("gone", (1, 2, 3), 1000)
    for _ in range(10):
        cluster.step()
    assert cluster.ranks[1].shard.held
    cluster.ranks[0].inbox.append(Cancel(sequence.listener))
    cluster.settle()
    assert cluster.ranks[1].shard.held == {}
    assert "gone" not in cluster.ends


def test_queue_is_bounded() -> None:
    """Over the bound a client hears at once that it must come again."""
    cluster = FakeCluster(1, max_queue=2)
    cluster.settle()
    for number in range(3):
        cluster.submit(f"r{number}", (1,), 1)
    for _ in range(3):
        cluster.ranks[0].node.handle(cluster.ranks[0].inbox.popleft())
    assert isinstance(cluster.ends["r2"], QueueFull)


def test_probe_goes_through_all_ranks() -> None:
    """Health means that steps come back, not that a process exists."""
    cluster = FakeCluster(3)
    answers: list[Exception | None] = []
    cluster.leader.handle(Probe(answers.append))
    assert isinstance(answers[0], NotReady)
    cluster.settle()
    cluster.ranks[0].inbox.append(Probe(answers.append))
    cluster.settle()
    assert answers[1:] == [None]


def test_requests_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that stays away turns waiting requests into an error that says so."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.kill(1)
    cluster.submit("waits", (1, 2), 5)
    cluster.settle()
    now = [1000.0]
    monkeypatch.setattr("daemon.engine.leader.time.monotonic", lambda: now[0])
    cluster.leader.tick()
    assert cluster.ends == {}
    now[0] += 61.0
    cluster.leader.tick()
    assert "waiting for rank 1" in str(cluster.ends["waits"])


def test_overdue_step_begins_a_new_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that never comes back fails its own requests; later ones are served."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.submit("stuck", (1, 2), 5)
    cluster.ranks[0].node.handle(cluster.ranks[0].inbox.popleft())
    cluster.leader.advance()
    cluster.ranks[1].inbox.clear()
    now = threading.TIMEOUT_MAX
    monkeypatch.setattr("daemon.engine.leader.time.monotonic", lambda: now)
    cluster.leader.tick()
    cluster.settle()
    assert isinstance(cluster.ends["stuck"], StepFailed)
    cluster.submit("next", (1, 2), 5)
    cluster.settle()
    assert cluster.texts["next"] == expected((1, 2), 5)


def test_an_outage_is_told_with_its_times() -> None:
    """People ask what a loss has cost, from the loss to the first token after it."""
    cluster = FakeCluster(2)
    cluster.submit("long", (1, 2, 3), 50)
    for _ in range(20):
        cluster.step()
    cluster.kill(1)
    cluster.step()
    cluster.boot(1)
    cluster.settle()
    events = dict(cluster.ranks[0].notes.events)
    assert events["epoch_ended"] == "rank 1 lost: killed"
    assert re.fullmatch(
        r"epoch 2 runs \d\.\d{3} s after the last ended: rank 1 lost: killed", events["epoch"]
    )
    assert events["recovered"].endswith("1 sequence run again from their tokens")
    assert cluster.texts["long"] == expected((1, 2, 3), 50)


def test_an_outage_without_requests_ends_with_the_epoch() -> None:
    """A token that comes an hour later is not late."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.kill(1)
    cluster.settle()
    cluster.boot(1)
    cluster.settle()
    cluster.submit("later", (1, 2, 3), 5)
    cluster.settle()
    assert "recovered" not in dict(cluster.ranks[0].notes.events)


def test_a_request_that_kills_a_rank_every_time_is_given_up() -> None:
    """One poisoned request must not keep everybody else from being served for ever."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.submit("poison", tuple(range(100)), 5)
    for _ in range(MOST_LOSSES):
        assert cluster.ends == {}
        for _ in range(3):
            cluster.step()
        cluster.kill(1)
        while not cluster.leader.waiting_for:
            cluster.step()
        cluster.boot(1)
        while cluster.leader.waiting_for:
            cluster.step()
    assert isinstance(cluster.ends["poison"], StepFailed)
    assert "given up: 8 losses of a rank in a row" in str(cluster.ends["poison"])
    cluster.submit("next", (1, 2), 5)
    cluster.settle()
    assert cluster.texts["next"] == expected((1, 2), 5)


def test_losses_with_tokens_in_between_are_forgiven() -> None:
    """A long answer may live through any number of restarts."""
    cluster = FakeCluster(2)
    cluster.submit("long", (1, 2, 3), 60)
    for _ in range(3 * MOST_LOSSES):
        told = len(cluster.texts["long"])
        while len(cluster.texts["long"]) == told:
            cluster.step()
        cluster.kill(1)
        cluster.step()
        cluster.boot(1)
    cluster.settle()
    assert cluster.texts["long"] == expected((1, 2, 3), 60)


def test_a_rank_that_starts_with_another_model_fails_alone() -> None:
    """Rank 0 waits for one with the right files; the wrong one ends with the reason."""
    cluster = FakeCluster(2)
    cluster.deliver(1, 0, Hello(1, "boot-x", "another fingerprint", 1 << 30))
    with pytest.raises(ModelError, match="rank 1 has another version of the model"):
        cluster.settle()
    assert "another version" in cluster.leader.waiting_for


def test_a_rank_that_comes_back_with_another_model_is_refused() -> None:
    """It must not take the running rank 0 with it; the reason stands where people look."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.kill(1)
    cluster.step()
    other = Hello(1, "boot-x", "another fingerprint", 1 << 30)
    cluster.deliver(1, 0, other)
    cluster.settle()
    assert "rank 1 has another version of the model" in cluster.leader.waiting_for
    assert cluster.ranks[0].notes.events[-1][0] == "rank_refused"
    cluster.boot(1)
    cluster.settle()
    assert cluster.leader.waiting_for == ""
