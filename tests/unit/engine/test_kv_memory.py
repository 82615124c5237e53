"""Memory for KV: who is admitted, who gives way, and that everybody ends all the same."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.engine.kv_budget import GROWTH_TOKENS, KvBudget, KvUse, RankKv
from daemon.engine.scheduler import Scheduler, SchedulerLimits
from daemon.engine.sequences import Sequence, Update
from daemon.engine.waiting import MOST_PASSED
from daemon.errors import KvTooSmall
from daemon.messages import Plan, SamplingParams, Step, StepResult, TokenOut

CHUNK = 512
CUT = 64
PLAN = Plan("", ())


def budget(tokens: int, *, prefix_tokens: int = 0, ranks: int = 1) -> KvBudget:
    """Ranks of which the tightest holds that many tokens, at one byte each."""
    tight = RankKv(capacity_bytes=tokens, prefix_bytes=prefix_tokens or tokens, token_bytes=1)
    roomy = RankKv(capacity_bytes=10 * tokens, prefix_bytes=10 * tokens, token_bytes=3)
    return KvBudget((*[roomy] * (ranks - 1), tight), CUT)


def sequence(name: str, length: int, count: int = 10, first: int = 0) -> Sequence:
    """A request; prompts with another first token share nothing."""
    prompt = (first, *range(length - 1))
    return Sequence(name, prompt, count, frozenset(), SamplingParams(), lambda _: None)


class Ranks:
    """Runs what the scheduler says, and counts what the ranks then hold."""

    def __init__(self, kv: KvBudget, depth: int = 1, places: int = 64) -> None:
        limits = SchedulerLimits(depth, places, 100, CHUNK, CUT, prefix_cache=True)
        self.kv = kv
        self.scheduler = Scheduler(limits, lambda _plan, _hellos: self.kv)
        self.scheduler.begin(PLAN, {})
        self.flying: deque[Step] = deque()
        self.held: dict[int, int] = {}
        self.blocks: dict[int, int] = {}
        self.firsts: list[str] = []
        self.ended: dict[str, Update] = {}
        self.most_bytes = 0

    def step(self) -> bool:
        """Fill the pipeline and let one step come back; whether there was one."""
        while (step := self.scheduler.schedule(1)) is not None:
            self._apply(step)
            self.flying.append(step)
        if not self.flying:
            return False
        step = self.flying.popleft()
        tokens = tuple(TokenOut(row.sequence_id, 7) for row in step.rows if row.sample)
        for asked, update in self.scheduler.commit(StepResult(1, step.number, tokens)):
            if update.tokens and len(asked.generated) == 1:
                self.firsts.append(asked.request_id)
            if update.finish_reason or update.error:
                assert asked.request_id not in self.ended
                self.ended[asked.request_id] = update
        return True

    def settle(self) -> None:
        """Until nothing is left to do."""
        for _ in range(200_000):
            if not self.step():
                return
        raise AssertionError("does not come to rest")

    def _apply(self, step: Step) -> None:
        for kept in step.kept:
            assert kept.stop <= self.held[kept.sequence_id]
            self.blocks[kept.block_id] = kept.stop - kept.start
        for closed in step.closed:
            del self.held[closed]
        for opened in step.opened:
            self.held[opened.sequence_id] = sum(self.blocks[b] for b in opened.blocks)
        for dropped in step.dropped:
            del self.blocks[dropped]
        for row in step.rows:
            self.held[row.sequence_id] += len(row.tokens)
            if row.keep:
                self.blocks[row.keep] = len(row.tokens)
        live = sum(-(-held // GROWTH_TOKENS) * GROWTH_TOKENS for held in self.held.values())
        self.most_bytes = max(self.most_bytes, live + sum(self.blocks.values()))


def test_budget_counts_growth_and_the_longest_of_a_batch() -> None:
    """mlx-lm's caches grow by 256 tokens, and a merged one is as long as its longest row."""
    rank = RankKv(1000, 1000, token_bytes=2, windows=((16, 3),), state_bytes=5)
    assert rank.sequence_bytes(1) == 256 * 2 + 16 * 3 + 5
    assert rank.sequence_bytes(257) == 512 * 2 + 16 * 3 + 5
    kv = KvBudget((RankKv(3 * 512, 512, token_bytes=1),), CUT)
    assert kv.fits(KvUse(((3, 300),)))
    assert not kv.fits(KvUse(((3, 300),), blocks=1))
    assert kv.longest() == 1536
    assert kv.prefix_fits(KvUse((), blocks=8))
    assert not kv.prefix_fits(KvUse((), blocks=9))


def test_a_request_that_can_never_fit_is_refused_with_its_numbers() -> None:
    """Not after a minute in the queue, and not by running out of memory."""
    ranks = Ranks(budget(1024, ranks=2))
    with pytest.raises(KvTooSmall) as refused:
        ranks.scheduler.submit(sequence("long", 1024))
    text = str(refused.value)
    assert "1,280 bytes of KV cache on rank 1, which has 1,024: at most 1024 tokens fit" in text


def test_an_answer_ends_where_the_memory_does() -> None:
    """As it does where the context ends: with `length`."""
    ranks = Ranks(budget(1024))
    asked = sequence("a", 1000, count=500)
    ranks.scheduler.submit(asked)
    ranks.settle()
    assert (ranks.ended["a"].finish_reason, len(asked.generated)) == ("length", 24)


def test_short_requests_pass_one_that_waits_for_memory_but_not_for_ever() -> None:
    """A short request never waits behind a long prompt; the long one gets its turn too."""
    ranks = Ranks(budget(4096, prefix_tokens=64))
    ranks.scheduler.submit(sequence("first", 1500, count=200, first=1))
    ranks.step()
    ranks.scheduler.submit(sequence("long", 3000, first=2))
    for number in range(2 * MOST_PASSED):
        ranks.scheduler.submit(sequence(f"short {number}", 10, count=3, first=3))
    ranks.settle()
    assert len(ranks.ended) == 2 + 2 * MOST_PASSED
    assert ranks.firsts.index("short 0") < ranks.firsts.index("long")
    assert ranks.firsts.index("long") <= 1 + MOST_PASSED


def test_the_youngest_gives_way_and_loses_nothing() -> None:
    """Its client sees a pause; the oldest is never stopped."""
    ranks = Ranks(budget(1536, prefix_tokens=64))
    old, young = sequence("old", 200, count=900, first=1), sequence("young", 200, 600, first=2)
    ranks.scheduler.submit(old)
    ranks.scheduler.submit(young)
    ranks.settle()
    assert ranks.scheduler.preemptions >= 1
    assert (len(old.generated), len(young.generated)) == (900, 600)
    assert list(ranks.ended) == ["old", "young"]
    assert ranks.most_bytes <= 1536


def test_cached_prefixes_go_before_anybody_is_stopped() -> None:
    """They are only worth time."""
    ranks = Ranks(budget(2048))
    ranks.scheduler.submit(sequence("a", 1000, count=1, first=1))
    ranks.settle()
    assert sum(ranks.blocks.values()) == 960
    ranks.scheduler.submit(sequence("b", 1500, count=2, first=2))
    ranks.settle()
    assert ranks.scheduler.preemptions == 0
    assert ranks.most_bytes <= 2048


def test_a_smaller_cluster_refuses_what_it_can_not_hold() -> None:
    """A rank stays away, and the others have less room: the clients are told why."""
    ranks = Ranks(budget(4096))
    ranks.scheduler.submit(sequence("long", 3000))
    ranks.scheduler.submit(sequence("short", 30))
    ranks.step()
    ranks.scheduler.rewind()
    ranks.kv = budget(1024)
    [(asked, update)] = ranks.scheduler.begin(PLAN, {})
    assert asked.request_id == "long"
    assert isinstance(update.error, KvTooSmall)


REQUESTS = st.lists(st.tuples(st.integers(1, 900), st.integers(1, 40)), min_size=1, max_size=12)


@given(
    requests=REQUESTS,
    capacity=st.integers(5, 12),
    depth=st.integers(1, 4),
    seed=st.integers(0, 999),
)
@settings(max_examples=80, deadline=None)
def test_everybody_ends_and_the_budget_holds(
    requests: list[tuple[int, int]], capacity: int, depth: int, seed: int
) -> None:
    """No starvation, no deadlock and no byte too much, whoever comes when and leaves when."""
    rng = random.Random(seed)
    kv = budget(capacity * GROWTH_TOKENS, prefix_tokens=rng.choice([64, 512, 10_000]))
    ranks = Ranks(kv, depth, places=rng.choice([1, 3, 64]))
    asked: list[Sequence] = []
    gone: set[str] = set()
    for number, (length, count) in enumerate(requests):
        asked.append(sequence(str(number), length, count, first=rng.randrange(2)))
        ranks.scheduler.submit(asked[-1])
        for _ in range(rng.randrange(4)):
            ranks.step()
        if rng.random() < 0.1:
            victim = rng.choice(asked)
            if victim.request_id not in ranks.ended:
                ranks.scheduler.cancel(victim)
                gone.add(victim.request_id)
    ranks.settle()
    for item in asked:
        if item.request_id not in gone:
            assert ranks.ended[item.request_id].finish_reason == "length"
            assert len(item.generated) == item.max_tokens
    assert ranks.held == {}
    assert ranks.most_bytes <= capacity * GROWTH_TOKENS
