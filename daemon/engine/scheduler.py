"""Which sequences run in the next step. Pure: no clock, no thread, no network.

Sequences live in as many decode groups as the pipeline is deep, so that every stage has a group
to work on. Prompts are run in portions that take turns with decode steps; portions of one prompt
may follow each other into the pipeline, since none waits for a sampled token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daemon.engine.groups import DecodeGroups
from daemon.engine.kv_budget import KvBudget
from daemon.engine.kv_room import KvRoom
from daemon.engine.prefix_index import PrefixIndex
from daemon.engine.prompts import Prompts, Work
from daemon.engine.sequences import Sequence, Update
from daemon.engine.turns import Turns
from daemon.engine.waiting import WaitingLine
from daemon.errors import EngineError, StepFailed
from daemon.messages import Hello, Plan, Step, StepResult, TokenOut

NO_CUT = 1 << 30
BudgetOf = Callable[[Plan, Mapping[int, Hello]], KvBudget]
"""What the ranks of a plan can hold of KV."""


@dataclass(frozen=True)
class SchedulerLimits:
    """Bounds of the scheduler, from the `[engine]` settings."""

    depth: int
    """The number of stages: steps in flight at once, of streams or of prompts."""
    max_sequences: int
    max_queue: int
    prefill_chunk: int
    """Prompt tokens in one step, at most."""
    prefill_cut: int = NO_CUT
    """Prompts are cut at multiples of this; at most the chunk."""
    prefix_cache: bool = False
    needs_snapshots: bool = False
    """The model has caches that can't be cut: see `PrefixIndex`."""

    @property
    def cut(self) -> int:
        """Tokens of one forward of a prompt, and of a block of the prefix cache."""
        return min(self.prefill_cut, self.prefill_chunk)


class Scheduler:
    """Owns every live sequence of rank 0."""

    def __init__(self, limits: SchedulerLimits, budget_of: BudgetOf | None = None) -> None:
        self._limits = limits
        self._budget_of = budget_of
        self._waiting = WaitingLine(limits.max_queue)
        self._groups = DecodeGroups(limits.depth)
        self._turns = Turns(limits.depth)
        self._index = PrefixIndex(limits.cut, needs_snapshots=limits.needs_snapshots)
        self._free_cuts = False
        self._closing: list[int] = []
        self._in_flight: dict[int, Work] = {}
        self._live: dict[int, Sequence] = {}
        self._memory = KvRoom(self._index, self._groups)
        self._memory.live = self._live.values()
        self._prompts = Prompts(
            self._index, self._memory.keeps, limits.cut, reuse=limits.prefix_cache
        )
        self._next_id = 1
        self._next_step = 1
        self.admitting = True
        """While false, new sequences wait, and those that live run to their end."""
        self._arrivals = 0
        self.kv_capacity_bytes: tuple[int, ...] = ()
        """What the caches of each rank may grow to in this epoch; empty: no bound."""
        self.preemptions = 0
        """Sequences that gave their memory up for others, to be run again later."""

    @property
    def lookup_tokens(self) -> int:
        """Prompt tokens that were looked up in the prefix cache."""
        return self._prompts.lookup_tokens

    @property
    def hit_tokens(self) -> int:
        """Those that were found, and not run."""
        return self._prompts.hit_tokens

    @property
    def evictions(self) -> int:
        """Blocks of prefixes that were given up to make room."""
        return self._index.evictions

    @property
    def queue_depth(self) -> int:
        """Sequences that wait for a place."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Sequences that take part in steps."""
        return len(self._live)

    @property
    def in_flight(self) -> int:
        """Steps sent and not come back."""
        return len(self._in_flight)

    def everyone(self) -> list[Sequence]:
        """All sequences, running first, each oldest first."""
        return [*self._live.values(), *self._waiting]

    def submit(self, sequence: Sequence) -> None:
        """Queue a new sequence.

        Raises:
            QueueFull: the queue is at its bound.
            KvTooSmall: the ranks' memory can't hold it, even alone.
        """
        self._memory.check(sequence)
        self._arrivals += 1
        sequence.arrival = self._arrivals
        self._waiting.add(sequence)

    def begin(self, plan: Plan, hellos: Mapping[int, Hello]) -> list[tuple[Sequence, Update]]:
        """An epoch begins: what clients of sequences that its ranks can't hold are told."""
        budget = self._budget_of(plan, hellos) if self._budget_of else None
        self._memory.set_budget(budget)
        self.kv_capacity_bytes = budget.capacities(plan.ranges) if budget else ()
        self._free_cuts = all(hello.free_cuts for hello in hellos.values())
        news: list[tuple[Sequence, Update]] = []
        for sequence in [*self._live.values(), *self._waiting]:
            try:
                self._memory.check(sequence)
            except EngineError as error:
                self.cancel(sequence)
                news.append((sequence, Update(sequence.request_id, error=error)))
        return news

    def schedule(self, epoch: int) -> Step | None:
        """The next step, or None when the pipeline is full or there is nothing to do."""
        if self.in_flight >= self._most_in_flight:
            return None
        self._make_room()
        self._admit()
        work = self._prefill() if self._prompts_are_next() else Work()
        if not work.rows:
            work = self._decode()
        if not (work.rows or self._closing or self._index.has_dropped):
            return None
        kept = self._prompts.take_kept(work)
        step = Step(
            epoch,
            self._next_step,
            tuple(work.opened),
            tuple(self._closing),
            tuple(work.rows),
            kept,
            self._index.take_dropped(),
        )
        self._next_step += 1
        self._closing = []
        self._in_flight[step.number] = work
        return step

    def took(self, step: Step, seconds: float) -> None:
        """How long rank 0's stage has worked on a step."""
        work = self._in_flight.get(step.number)
        if work is None or not work.rows:
            return
        if work.prompt_tokens:
            among_streams = work.among_streams
            self._turns.prompt_took(work.prompt_tokens, seconds, among_streams=among_streams)
        else:
            self._turns.decode_took(seconds)

    def probe(self, epoch: int) -> Step:
        """An empty step: it comes back when every rank has handled it."""
        step = Step(epoch, self._next_step)
        self._next_step += 1
        return step

    def commit(self, result: StepResult) -> list[tuple[Sequence, Update]]:
        """Take what came of a step; what each client is to be told."""
        work = self._in_flight.pop(result.number, None)
        if work is None:
            return []
        if result.error:
            self._prompts.disown(work, self._in_flight.values())
            error = StepFailed(result.error)
            return [self._end(s, error) for s in work.members if s.sequence_id in self._live]
        for block, _ in work.blocks:
            self._index.confirm(block)
        news: list[tuple[Sequence, Update]] = []
        for out in result.tokens:
            sequence = self._live.get(out.sequence_id)
            if sequence is not None:  # else cancelled while its step was under way
                news += self._take(sequence, out)
        return news

    def cancel(self, sequence: Sequence) -> None:
        """Drop a sequence, wherever it is; the stages learn of it with the next step."""
        if sequence.sequence_id in self._live:
            self._forget(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)

    def rewind(self) -> None:
        """The stages have lost everything: run every live sequence again from its tokens."""
        self._in_flight.clear()
        self._closing = []
        self._groups.clear()
        self._index.clear()
        self._prompts.restart(self._live.values())
        for sequence in self._live.values():
            sequence.rewind()

    def fail_all(self, error: Exception) -> list[tuple[Sequence, Update]]:
        """End every sequence with ``error``."""
        everyone = [*self._live.values(), *self._waiting.drain()]
        return [self._end(sequence, error) for sequence in everyone]

    def fail_waiting(self, error: Exception) -> list[tuple[Sequence, Update]]:
        """End every sequence that waits for a place."""
        everyone = [sequence for sequence in self._waiting if not sequence.has_run]
        for sequence in everyone:
            self._waiting.remove(sequence)
        return [self._end(sequence, error) for sequence in everyone]

    def _admit(self) -> None:
        while len(self._live) < self._limits.max_sequences:
            sequence = self._waiting.take(self._may_live)
            if sequence is None:
                return
            sequence.sequence_id = self._next_id
            self._live[sequence.sequence_id] = sequence
            if not self._index.shrink(self._memory.fits):
                # Prefixes that prompts are about to go on from can't be dropped just now.
                del self._live[sequence.sequence_id]
                sequence.sequence_id = 0
                self._waiting.put_back(sequence)
                return
            self._next_id += 1
            self._prompts.add(sequence)

    def _may_live(self, sequence: Sequence) -> bool:
        # Who gave way to others is among those that run to their end.
        return (self.admitting or sequence.has_run) and self._memory.admits(sequence)

    def _make_room(self) -> None:
        """Cached prefixes give way first, then who came last; the first of all never does."""
        while not self._memory.fits() and not self._index.shrink(self._memory.fits):
            if len(self._live) < 2:
                return
            self._preempt(max(self._live.values(), key=lambda s: s.arrival))

    def _preempt(self, sequence: Sequence) -> None:
        """Take a sequence's memory; it waits, and is run again from its tokens."""
        self._forget(sequence, keep=False)
        sequence.rewind()
        self._waiting.put_back(sequence)
        self.preemptions += 1

    def _prompts_are_next(self) -> bool:
        """Prompts and running streams take turns when both have work."""
        if not self._prompts.any:
            return False
        if self._groups.ready:
            return self._turns.prompts_are_next()
        return not self._groups.any or self._turns.prompts_may_run()

    @property
    def _most_in_flight(self) -> int:
        """One step for each stage; beside each group of streams, one of a prompt."""
        both = self._prompts.any and self._groups.any
        return self._limits.depth * (2 if both else 1)

    def _prefill(self) -> Work:
        """A portion of prompts; a smaller one beside running streams."""
        work = Work(among_streams=self._groups.any)
        room = self._limits.prefill_chunk
        if work.among_streams:
            room = self._turns.portion(self._limits.cut, room)
        self._prompts.portion(work, room)
        self._turns.chose(prompts=bool(work.rows))
        return work

    def _decode(self) -> Work:
        members = self._groups.take_ready()
        if members:
            self._turns.chose(prompts=False)
        return Work(members, rows=[s.next_row(1) for s in members])

    def _take(self, sequence: Sequence, out: TokenOut) -> list[tuple[Sequence, Update]]:
        """A sequence's next token; what its client is told."""
        if out.error:
            return [self._end(sequence, StepFailed(out.error))]
        if out.later:
            self._run_again(sequence)
            return []
        first = sequence.group is None
        reason = sequence.accept(out.token)
        tokens = () if reason == "stop" else (out,)
        cached = (sequence.cached_tokens or 0) if first else 0
        update = Update(
            sequence.request_id, tokens, reason, prompt=out.prompt, cached_tokens=cached
        )
        if reason:
            self._forget(sequence)
        elif first:
            self._groups.join(sequence)
        return [(sequence, update)]

    def _end(self, sequence: Sequence, error: Exception) -> tuple[Sequence, Update]:
        if sequence.sequence_id in self._live:
            self._forget(sequence, keep=False)
        return sequence, Update(sequence.request_id, error=error)

    def _run_again(self, sequence: Sequence) -> None:
        self._closing.append(sequence.sequence_id)
        self._leave(sequence)
        sequence.rewind()
        self._prompts.add(sequence)

    def _forget(self, sequence: Sequence, *, keep: bool = True) -> None:
        del self._live[sequence.sequence_id]
        if sequence.opened:
            if keep:
                self._keep_answer(sequence)
            self._closing.append(sequence.sequence_id)
        self._leave(sequence)

    def _leave(self, sequence: Sequence) -> None:
        """Take it out of whatever it waits in or has promised."""
        if sequence.claim is not None:
            self._index.release(sequence.claim)
            sequence.claim = None
        if sequence.group is not None:
            self._groups.leave(sequence)
        else:
            self._prompts.remove(sequence)

    def _keep_answer(self, sequence: Sequence) -> None:
        """The next turn of a conversation begins with this one's prompt and answer."""
        if self._free_cuts and sequence.claim and sequence.group is not None:
            self._prompts.keep_answer(sequence)
