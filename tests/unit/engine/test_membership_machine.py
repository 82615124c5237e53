"""Membership as a state machine under any story: what must hold after every event, in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daemon.engine.membership import Membership
from daemon.messages import Hello, LinkState, Plan, Ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.messages import Assign

WORLD = 4
RANKS = st.integers(0, WORLD - 1)
FOLLOWERS = st.integers(1, WORLD - 1)


class Story(RuleBasedStateMachine):
    """Ranks greet, die, load, stay away and return; links between them break and heal."""

    def __init__(self) -> None:
        super().__init__()
        self.plans = 0
        self.membership = Membership(WORLD, self._plan)
        self.order: Assign | None = None
        self.greeted: set[int] = set()
        self.done_without: set[int] = set()
        self.broken: set[frozenset[int]] = set()
        self.loaded: set[int] = set()

    def _plan(self, hellos: Mapping[int, Hello]) -> Plan:
        self.plans += 1
        return Plan("f", tuple((r, r + 1) if r in hellos else (0, 0) for r in range(WORLD)))

    @initialize()
    def rank_0_greets_itself(self) -> None:
        """It is the one that decides."""
        self.greets(0, 0)

    @rule(rank=FOLLOWERS, behind=st.integers(0, 3))
    def greets(self, rank: int, behind: int) -> None:
        """For the first time, after a death, or because it has lost us."""
        self.greeted.add(rank)
        self.done_without.discard(rank)
        self.broken = {link for link in self.broken if rank not in link}
        epoch = max(0, self.membership.epoch - behind)
        self._ordered(self.membership.hello(Hello(rank, "boot", "f", 1, epoch)))

    @rule(rank=FOLLOWERS)
    def dies(self, rank: int) -> None:
        """Or its link to rank 0 does."""
        ran = self.membership.running
        assigned = self.order is not None
        ended = self.membership.lost(rank)
        self.greeted.discard(rank)
        assert not ended or assigned
        if ran and rank not in self.done_without:
            assert ended, "a loss in a running epoch was not noticed"
        if ended:
            self.order = None

    @precondition(lambda self: self.order is not None)
    @rule(rank=RANKS, late=st.booleans())
    def is_ready(self, rank: int, late: bool) -> None:
        """With the layers of this epoch, or of one that is over."""
        assert self.order is not None
        if rank not in self.greeted:
            return
        self._loads(rank, self.order.epoch - late)

    def _loads(self, rank: int, epoch: int) -> None:
        assert self.order is not None
        if epoch == self.order.epoch:
            self.loaded.add(rank)
        self.membership.ready(Ready(epoch, rank))

    @rule(last=RANKS)
    def all_come_and_load(self, last: int) -> None:
        """What an operator waits for; ``last`` takes longest."""
        for rank in set(range(1, WORLD)) - self.greeted:
            self.greets(rank, 0)
        if self.order is None:
            return  # a link is broken
        for rank in sorted(self.greeted, key=lambda each: each == last):
            self._loads(rank, self.order.epoch)
        assert self.membership.running

    @rule(one=FOLLOWERS, other=FOLLOWERS, up=st.booleans())
    def link_changes(self, one: int, other: int, up: bool) -> None:
        """Between two others: one of them tells."""
        if one == other:
            return
        link = frozenset((one, other))
        ended, order = self.membership.link(LinkState(one, other, up))
        (self.broken.discard if up else self.broken.add)(link)
        if ended:
            self.order = None
        self._ordered(order)

    @precondition(lambda self: self.membership.missing)
    @rule()
    def is_done_without(self) -> None:
        """The others take the layers of all that are away."""
        away = self.membership.missing
        self.done_without.update(away)
        self._ordered(self.membership.do_without(away))

    def _ordered(self, order: Assign | None) -> None:
        if order is None:
            return
        last = self.order.epoch if self.order else 0
        assert order.epoch > last, "an epoch was used twice"
        assert order.epoch == self.membership.epoch
        assert not self.membership.missing, "an epoch began without somebody"
        held = {r for r, (lo, hi) in enumerate(order.plan.ranges) if lo < hi}
        present = set(self.membership.present)
        assert held == present, "layers were given to who is not there"
        assert not any(link <= present for link in self.broken), "an epoch began on a broken link"
        self.order = order
        self.loaded.clear()

    @invariant()
    def whoever_runs_is_complete(self) -> None:
        """Steps run only while everybody who takes part is there, ready, and linked."""
        it = self.membership
        if not it.running:
            assert it.waiting_for, "nothing runs, and nobody can read why"
            return
        assert it.waiting_for == ""
        assert self.order is not None
        assert set(it.present) | self.done_without == set(range(WORLD))
        assert self.loaded == set(it.present), "steps run, and somebody has no layers"
        assert not any(link <= set(it.present) for link in self.broken)

    @invariant()
    def everybody_is_somewhere(self) -> None:
        """Present, waited for, or done without."""
        it = self.membership
        assert set(it.present) == self.greeted
        assert not set(it.missing) & (self.greeted | self.done_without)

    def teardown(self) -> None:
        """Whatever came before: when all are back, steps run again."""
        for rank in range(1, WORLD):
            self.greets(rank, 0)
        assert self.order is not None
        for rank in range(WORLD):
            self._loads(rank, self.membership.epoch)
        assert self.membership.running


Story.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestStory = Story.TestCase
