"""Which sequences run in the next step. Pure: no clock, no thread, no network.

Sequences live in as many decode groups as the pipeline is deep, so that every stage has a group
to work on. Prompts are run in chunks that alternate with decode steps; chunks of one prompt may
follow each other into the pipeline, since none waits for a sampled token.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from daemon.engine.sequences import Sequence, Update
from daemon.errors import QueueFull, StepFailed
from daemon.messages import OpenSequence, Row, Step, StepResult


@dataclass(frozen=True)
class SchedulerLimits:
    """Bounds of the scheduler, from the `[engine]` settings."""

    depth: int
    """Steps in flight at once: the number of stages."""
    max_sequences: int
    max_queue: int
    prefill_chunk: int


@dataclass
class _InFlight:
    step: Step
    members: list[Sequence] = field(default_factory=list[Sequence])


class Scheduler:
    """Owns every live sequence of rank 0."""

    def __init__(self, limits: SchedulerLimits) -> None:
        self._limits = limits
        self._waiting: deque[Sequence] = deque()
        self._prefilling: deque[Sequence] = deque()
        self._groups: list[list[Sequence]] = [[] for _ in range(limits.depth)]
        self._next_group = 0
        self._prefer_prefill = True
        self._closing: list[int] = []
        self._in_flight: dict[int, _InFlight] = {}
        self._live: dict[int, Sequence] = {}
        self._next_id = 1
        self._next_step = 1
        self.admitting = True
        """While false, new sequences wait, and those that live run to their end."""

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
        """
        if len(self._waiting) >= self._limits.max_queue:
            raise QueueFull(
                f"{len(self._waiting)} requests wait already, the queue's bound: try again later"
            )
        self._waiting.append(sequence)

    def schedule(self, epoch: int) -> Step | None:
        """The next step, or None when the pipeline is full or there is nothing to do."""
        if self.in_flight >= self._limits.depth:
            return None
        self._admit()
        members, opened, rows = self._prefill() if self._prefill_is_next() else self._decode()
        if not rows and not self._closing:
            return None
        step = Step(epoch, self._next_step, tuple(opened), tuple(self._closing), tuple(rows))
        self._next_step += 1
        self._closing = []
        self._in_flight[step.number] = _InFlight(step, members)
        return step

    def probe(self, epoch: int) -> Step:
        """An empty step: it comes back when every rank has handled it."""
        step = Step(epoch, self._next_step)
        self._next_step += 1
        return step

    def commit(self, result: StepResult) -> list[tuple[Sequence, Update]]:
        """Take what came of a step; what each client is to be told."""
        flight = self._in_flight.pop(result.number, None)
        if flight is None:
            return []
        if result.error:
            error = StepFailed(result.error)
            return [self._end(s, error) for s in flight.members if s.sequence_id in self._live]
        news: list[tuple[Sequence, Update]] = []
        for out in result.tokens:
            sequence = self._live.get(out.sequence_id)
            if sequence is None:  # cancelled while its step was under way
                continue
            if out.error:
                news.append(self._end(sequence, StepFailed(out.error)))
                continue
            if out.later:
                self._run_again(sequence)
                continue
            reason = sequence.accept(out.token)
            tokens = () if reason == "stop" else (out,)
            news.append((sequence, Update(sequence.request_id, tokens, reason, prompt=out.prompt)))
            if reason:
                self._forget(sequence)
            elif sequence.group is None:
                self._join_group(sequence)
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
        self._groups = [[] for _ in range(self._limits.depth)]
        self._prefilling = deque(self._live.values())
        for sequence in self._live.values():
            sequence.rewind()

    def fail_all(self, error: Exception) -> list[tuple[Sequence, Update]]:
        """End every sequence with ``error``."""
        everyone = [*self._live.values(), *self._waiting]
        self._waiting.clear()
        return [self._end(sequence, error) for sequence in everyone]

    def fail_waiting(self, error: Exception) -> list[tuple[Sequence, Update]]:
        """End every sequence that waits for a place."""
        everyone = list(self._waiting)
        self._waiting.clear()
        return [self._end(sequence, error) for sequence in everyone]

    def _admit(self) -> None:
        while self.admitting and self._waiting and len(self._live) < self._limits.max_sequences:
            sequence = self._waiting.popleft()
            sequence.sequence_id = self._next_id
            self._next_id += 1
            self._live[sequence.sequence_id] = sequence
            self._prefilling.append(sequence)

    def _prefill_is_next(self) -> bool:
        """Prompts and running streams take turns when both have work."""
        if not self._prefilling:
            return False
        turn, self._prefer_prefill = self._prefer_prefill, not self._prefer_prefill
        return turn or self._ready_group() is None

    def _prefill(self) -> tuple[list[Sequence], list[OpenSequence], list[Row]]:
        """A chunk's worth of prompts, in turn: short ones share a step, a long one fills it.

        Who was not done goes to the back, so that a short prompt never waits for a long one. A
        prompt is cut at multiples of the chunk only, whoever else is there: same cuts, same bits.
        """
        members: list[Sequence] = []
        rows: list[Row] = []
        room = self._limits.prefill_chunk
        for _ in range(len(self._prefilling)):
            if room < max(1, self._prefilling[0].remaining_prefill) and members:
                break
            sequence = self._prefilling.popleft()
            row = sequence.next_row(self._limits.prefill_chunk)
            room -= len(row.tokens)
            members.append(sequence)
            rows.append(row)
            if not row.sample:
                self._prefilling.append(sequence)
        opened = [s.open_message() for s in members if not s.opened]
        for sequence in members:
            sequence.opened = True
        return members, opened, rows

    def _decode(self) -> tuple[list[Sequence], list[OpenSequence], list[Row]]:
        self._balance()
        group = self._ready_group()
        if group is None:
            return [], [], []
        self._next_group = (group + 1) % self._limits.depth
        members = list(self._groups[group])
        return members, [], [s.next_row(1) for s in members]

    def _ready_group(self) -> int | None:
        """The next group in turn that is not under way; its members all go in one step."""
        depth = self._limits.depth
        for turn in range(depth):
            group = (self._next_group + turn) % depth
            if self._groups[group] and self._at_rest(group):
                return group
        return None

    def _at_rest(self, group: int) -> bool:
        return not any(s.awaiting for s in self._groups[group])

    def _balance(self) -> None:
        """Move one sequence from the largest group to the smallest, if the largest is at rest."""
        sizes = [len(g) for g in self._groups]
        largest, smallest = sizes.index(max(sizes)), sizes.index(min(sizes))
        if sizes[largest] - sizes[smallest] > 1 and self._at_rest(largest):
            moved = self._groups[largest].pop()
            moved.group = smallest
            self._groups[smallest].append(moved)

    def _join_group(self, sequence: Sequence) -> None:
        """Let a sequence that has its first token decode along with others."""
        smallest = min(range(self._limits.depth), key=lambda g: len(self._groups[g]))
        sequence.group = smallest
        self._groups[smallest].append(sequence)

    def _end(self, sequence: Sequence, error: Exception) -> tuple[Sequence, Update]:
        if sequence.sequence_id in self._live:
            self._forget(sequence)
        return sequence, Update(sequence.request_id, error=error)

    def _run_again(self, sequence: Sequence) -> None:
        self._closing.append(sequence.sequence_id)
        if sequence.group is not None:
            self._groups[sequence.group].remove(sequence)
        sequence.rewind()
        self._prefilling.append(sequence)

    def _forget(self, sequence: Sequence) -> None:
        del self._live[sequence.sequence_id]
        if sequence.opened:
            self._closing.append(sequence.sequence_id)
        if sequence.group is not None:
            self._groups[sequence.group].remove(sequence)
        elif sequence in self._prefilling:
            self._prefilling.remove(sequence)
