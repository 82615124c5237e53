"""Ranks in memory: the real leader and followers over queues and shards that only add numbers.

A shard's answer depends on every token that it was fed, in order, so a token that is lost, doubled
or run on the wrong sequence changes the text.
"""

from __future__ import annotations

import queue
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from daemon.engine.follower import Follower
from daemon.engine.interfaces import Event, PeerChange, Received, Submit
from daemon.engine.leader import Leader
from daemon.engine.membership import Membership
from daemon.engine.meter import Meter
from daemon.engine.scheduler import Scheduler, SchedulerLimits
from daemon.engine.sequences import Sequence, Update
from daemon.errors import PlacementError
from daemon.messages import Hello, Plan, SamplingParams, Step, TokenOut
from daemon.settings import LimitsPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.engine.kv_budget import KvBudget

VOCABULARY = 1000


class AddingShard:
    """Holds the tokens of each sequence; the last rank's answer is a hash of them."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.last = rank == world_size - 1
        self._world_size = world_size
        self.held: dict[int, list[int]] = {}
        self.blocks: dict[int, tuple[int, ...]] = {}
        """The prefix cache."""
        self.ran = 0
        """Tokens that were run."""
        self.loads: list[tuple[int, int]] = []
        self.fail_on: set[int] = set()
        """Sequences whose steps raise."""
        self.fail_steps: set[int] = set()
        """Steps that raise if they have rows."""

    def assign(self, lo: int, hi: int) -> None:
        """Load, or only forget the sequences."""
        if not self.loads or self.loads[-1] != (lo, hi):
            self.loads.append((lo, hi))
        self.held = {}
        self.blocks = {}
        self.last = hi == self._world_size

    def run(self, step: Step, hidden: Any) -> Any:
        """Keep the tokens; pass on how many were seen so far, which every rank must agree on."""
        self._operate(step)
        self._fail(step)
        answer: list[TokenOut] = []
        counts: list[int] = []
        for number, row in enumerate(step.rows):
            tokens = self.held[row.sequence_id]
            tokens += row.tokens
            self.ran += len(row.tokens)
            if row.keep:
                self.blocks[row.keep] = row.tokens
            counts.append(len(tokens))
            if hidden is not None:
                assert hidden[number] == len(tokens)
            if row.sample:
                answer.append(TokenOut(row.sequence_id, hash(tuple(tokens)) % VOCABULARY))
        return tuple(answer) if self.last else counts

    def _operate(self, step: Step) -> None:
        """All that is no row, in the order of the executor."""
        for kept in step.kept:
            if kept.sequence_id in self.held:
                tokens = self.held[kept.sequence_id][kept.start : kept.stop]
                self.blocks[kept.block_id] = tuple(tokens)
        for closed in step.closed:
            self.held.pop(closed, None)
        for opened in step.opened:
            known = [token for block in opened.blocks for token in self.blocks[block]]
            self.held[opened.sequence_id] = known
        for dropped in step.dropped:
            self.blocks.pop(dropped, None)

    def _fail(self, step: Step) -> None:
        """Raise if the test says so, or if the sequence was dropped by an earlier failure."""
        fails = step.number in self.fail_steps and step.rows
        if fails or any(row.sequence_id in self.fail_on for row in step.rows):
            for row in step.rows:
                self.held.pop(row.sequence_id, None)
            raise RuntimeError("out of memory")
        unknown = [row.sequence_id for row in step.rows if row.sequence_id not in self.held]
        if unknown:
            raise RuntimeError(f"out of memory earlier: {unknown} not open")


def expected(prompt: tuple[int, ...], count: int) -> list[int]:
    """What an undisturbed run generates."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(hash(tuple(tokens)) % VOCABULARY)
    return tokens[len(prompt) :]


@dataclass
class Notes:
    """What the ranks reported."""

    states: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    events: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def state(self, state: str, reason: str = "") -> None:
        """Keep it."""
        self.states.append((state, reason))

    def event(self, kind: str, text: str) -> None:
        """Keep it."""
        self.events.append((kind, text))


@dataclass
class FakeRank:
    """One rank's node, inbox and shard."""

    node: Leader | Follower
    inbox: deque[Event]
    shard: AddingShard
    notes: Notes


class FakeCluster:
    """Delivers messages one at a time, in an order that the test may choose."""

    def __init__(
        self,
        world_size: int,
        *,
        chunk: int = 4,
        max_queue: int = 100,
        limits: LimitsPart | None = None,
        budget: KvBudget | None = None,
        free_cuts: bool = False,
    ) -> None:
        self.world_size = world_size
        self._limits = limits or LimitsPart()
        self._bounds = SchedulerLimits(
            world_size, 8, max_queue, chunk, prefill_cut=2, prefix_cache=True
        )
        self._budget = budget
        self._free_cuts = free_cuts
        self._boots = 0
        self.fewest = 1
        """Fewer ranks than these have not the memory."""
        self.updates: queue.SimpleQueue[Update] = queue.SimpleQueue()
        self.texts: dict[str, list[int]] = {}
        self.ends: dict[str, str | Exception] = {}
        self.cached: dict[str, int] = {}
        self.ranks: dict[int, FakeRank] = {}
        self.meters: dict[int, Meter] = {}
        for rank in range(world_size):
            self.boot(rank)

    @property
    def leader(self) -> Leader:
        """Rank 0's node."""
        node = self.ranks[0].node
        assert isinstance(node, Leader)
        return node

    def boot(self, rank: int) -> None:
        """Start a rank's worker, for the first time or again."""
        self._boots += 1
        inbox: deque[Event] = deque()
        shard, notes = AddingShard(rank, self.world_size), Notes()
        boot = f"boot-{self._boots}"
        hello = Hello(rank, boot, "fingerprint", 1 << 30, free_cuts=self._free_cuts)
        wire = _Wire(self, rank)
        meter = self.meters[rank] = Meter()
        if rank == 0:
            membership = Membership(self.world_size, self._plan)
            budget = self._budget
            budget_of = (lambda plan, _hellos: _for_each(budget, plan)) if budget else None
            scheduler = self.scheduler = Scheduler(self._bounds, budget_of)
            node = Leader(hello, membership, scheduler, shard, wire, notes, meter, self._limits)
        else:
            node = Follower(hello, shard, wire, notes, meter)
        self.ranks[rank] = FakeRank(node, inbox, shard, notes)
        node.start()
        for other in self.ranks:
            if other != rank:
                self.ranks[other].inbox.append(PeerChange(rank, up=True))
                inbox.append(PeerChange(other, up=True))

    def _plan(self, hellos: Mapping[int, Hello]) -> Plan:
        """As many layers as ranks; who is away leaves its layer to the rank before."""
        if len(hellos) < self.fewest:
            raise PlacementError("4 GB are missing")
        after = [*sorted(hellos)[1:], self.world_size]
        placed = dict(zip(sorted(hellos), after, strict=True))
        ranges = ((r, placed[r]) if r in placed else (0, 0) for r in range(self.world_size))
        return Plan("fingerprint", tuple(ranges))

    def kill(self, rank: int) -> None:
        """Lose a rank's worker with everything that it held and that was on its way to it."""
        del self.ranks[rank]
        for other in self.ranks.values():
            other.inbox.append(PeerChange(rank, up=False, reason="killed"))

    def submit(
        self,
        request_id: str,
        prompt: tuple[int, ...],
        count: int,
        sampling: SamplingParams | None = None,
    ) -> Sequence:
        """Ask for ``count`` tokens."""
        chosen = sampling or SamplingParams()
        sequence = Sequence(
            request_id, prompt, count, frozenset(), chosen, self._listen, resumed=True
        )
        self.texts[request_id] = []
        self.ranks[0].inbox.append(Submit(sequence))
        return sequence

    def settle(self, limit: int = 100_000) -> None:
        """Deliver and step until nothing is left to do."""
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError("the cluster did not come to rest")

    def step(self) -> bool:
        """One event or one step of work for each rank; whether there was any."""
        busy = False
        for rank in list(self.ranks.values()):
            if rank.inbox:
                rank.node.handle(rank.inbox.popleft())
                busy = True
            busy = rank.node.advance() or busy
        return busy

    def deliver(self, source: int, dst: int, value: Any) -> None:
        """Queue a message, unless the rank is away."""
        if dst in self.ranks:
            self.ranks[dst].inbox.append(Received(source, lambda: value))

    def _listen(self, updates: list[Update]) -> None:
        for update in updates:
            self.texts[update.request_id] += [t.token for t in update.tokens]
            if update.cached_tokens:
                self.cached[update.request_id] = update.cached_tokens
            if update.finish_reason or update.error:
                assert update.request_id not in self.ends
                self.ends[update.request_id] = update.error or update.finish_reason


@dataclass
class _Wire:
    cluster: FakeCluster
    rank: int

    def send(self, dst: int, value: Any) -> None:
        """Deliver in order."""
        self.cluster.deliver(self.rank, dst, value)


def _for_each(budget: KvBudget, plan: Plan) -> KvBudget:
    """Give every rank that has layers the memory of the budget's one rank."""
    (rank,) = budget.ranks
    return replace(budget, ranks=tuple(rank for lo, hi in plan.ranges if hi > lo))
