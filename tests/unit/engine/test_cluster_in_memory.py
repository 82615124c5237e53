"""Leader, followers, scheduler and membership together, without processes."""

from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.engine.interfaces import Cancel, Probe
from daemon.engine.kv_budget import KvBudget, RankKv
from daemon.engine.suspects import MOST_LOSSES
from daemon.errors import ModelError, NotReady, QueueFull, StepFailed
from daemon.messages import Hello, SamplingParams
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


def test_a_prompt_that_was_run_is_not_run_again() -> None:
    """The second request of a conversation begins where the first one's prompt ended."""
    cluster = FakeCluster(3)
    cluster.submit("first", tuple(range(21)), 3)
    cluster.settle()
    ran = cluster.ranks[2].shard.ran
    cluster.submit("second", (*range(20), 99, 98), 3)
    cluster.settle()
    assert cluster.texts["second"] == expected((*range(20), 99, 98), 3)
    assert cluster.cached == {"second": 20}
    assert cluster.ranks[2].shard.ran - ran == 2 + 2
    assert (cluster.scheduler.lookup_tokens, cluster.scheduler.hit_tokens) == (43, 20)


def test_a_prompt_to_be_scored_is_run_as_a_whole() -> None:
    """What the cache holds has no scores: each token of the prompt must pass the head."""
    cluster = FakeCluster(2)
    prompt = tuple(range(21))
    cluster.submit("first", prompt, 1)
    cluster.settle()
    ran = cluster.ranks[1].shard.ran
    cluster.submit("scored", prompt, 1, SamplingParams(logprobs=True, prompt_logprobs=True))
    cluster.settle()
    assert cluster.ranks[1].shard.ran - ran == len(prompt)
    assert not cluster.cached.get("scored")


def test_choices_of_one_prompt_run_it_once() -> None:
    """A request for eight choices must not cost eight prompts."""
    cluster = FakeCluster(2)
    prompt = tuple(range(41))
    for number in range(8):
        cluster.submit(str(number), prompt, 1)
    cluster.settle()
    assert cluster.texts == {str(number): expected(prompt, 1) for number in range(8)}
    assert cluster.ranks[0].shard.ran == 40 + 8


def test_answers_are_reused_where_their_bits_are_those_of_a_prompt() -> None:
    """With free cuts the next turn runs nothing of the last one's answer."""
    prompt = tuple(range(9))
    turn = (*prompt, *expected(prompt, 11), 99)
    for free_cuts, cached in ((True, 18), (False, 8)):
        cluster = FakeCluster(2, free_cuts=free_cuts)
        cluster.submit("first", prompt, 11)
        cluster.settle()
        cluster.submit("second", turn, 4)
        cluster.settle()
        assert cluster.texts["second"] == expected(turn, 4)
        assert cluster.cached == {"second": cached}


@given(
    world_size=st.integers(1, 4),
    free_cuts=st.booleans(),
    capacity=st.integers(2, 6),
    turns=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=10),
    faults=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 3)), max_size=3),
)
@settings(max_examples=120, deadline=None)
def test_nothing_that_is_reused_dropped_or_lost_changes_a_token(
    world_size: int,
    free_cuts: bool,
    capacity: int,
    turns: list[tuple[int, int]],
    faults: list[tuple[int, int]],
) -> None:
    """Conversations that share beginnings, little memory, failing steps and killed ranks."""
    rank = RankKv(capacity * 256, 64, token_bytes=1)
    cluster = FakeCluster(world_size, free_cuts=free_cuts, budget=KvBudget((rank,), 2))
    prompts: dict[str, tuple[int, ...]] = {}
    last: tuple[int, ...] = ()
    for number, (kind, length) in enumerate(turns):
        name = str(number)
        prompts[name] = (*last[: 10 * kind], *range(length))
        last = (*prompts[name], *expected(prompts[name], 9))
        cluster.submit(name, prompts[name], 9)
        for steps, which in faults[number : number + 1]:
            for _ in range(steps):
                cluster.step()
            if world_size > 1:
                victim = 1 + which % (world_size - 1)
                cluster.kill(victim)
                cluster.step()
                cluster.boot(victim)
    cluster.settle()
    assert cluster.texts == {name: expected(prompt, 9) for name, prompt in prompts.items()}
    held = [sorted(item.shard.blocks.items()) for item in cluster.ranks.values()]
    assert held == [held[0]] * world_size
    assert [item.shard.held for item in cluster.ranks.values()] == [{}] * world_size


@given(fail_at=st.sets(st.integers(1, 40), max_size=6), free_cuts=st.booleans())
@settings(max_examples=80, deadline=None)
def test_after_failed_steps_all_ranks_hold_the_same_prefixes(
    fail_at: set[int], free_cuts: bool
) -> None:
    """A block that one rank lacks would fail an innocent request later."""
    cluster = FakeCluster(3, free_cuts=free_cuts)
    cluster.settle()
    cluster.ranks[1].shard.fail_steps = fail_at
    prompts = {str(n): (*range(4 * (n % 3)), *range(n, n + 7)) for n in range(9)}
    for name, prompt in prompts.items():
        cluster.submit(name, prompt, 5)
        for _ in range(5):
            cluster.step()
    cluster.settle()
    for name, prompt in prompts.items():
        if cluster.ends[name] == "length":
            assert cluster.texts[name] == expected(prompt, 5)
        else:
            assert "out of memory" in str(cluster.ends[name])
    cluster.ranks[1].shard.fail_steps = set()
    for name, prompt in prompts.items():
        cluster.submit(f"again {name}", prompt, 5)
    cluster.settle()
    assert {cluster.ends[f"again {name}"] for name in prompts} == {"length"}
    held = [item.shard.blocks for item in cluster.ranks.values()]
    assert held == [held[0]] * 3
