"""What one worker counts about its steps: counters, durations, and the last steps one by one.

Written by the engine thread; the sampler's thread reads it, so every field is replaced as a whole.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daemon.histogram import Histogram

if TYPE_CHECKING:
    from daemon.messages import Step

TRACED_STEPS = 2_048
"""About a minute of decoding at 30 steps a second; some 400 KB."""


@dataclass(frozen=True, slots=True)
class TracedStep:
    """One step on this rank."""

    number: int
    epoch: int
    times: tuple[float, float, float, float]
    """When it arrived, began, ended and had been sent on; monotonic seconds of the process."""
    tokens: int
    sequences: tuple[int, ...]


@dataclass(slots=True)
class Counters:
    """Growing numbers, by their names in control.proto."""

    steps: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    compute_s: float = 0.0
    wait_s: float = 0.0
    send_s: float = 0.0
    evictions: int = 0
    prefix_lookup_tokens: int = 0
    prefix_hit_tokens: int = 0
    preemptions: int = 0


@dataclass(slots=True)
class Meter(Counters):
    """The counters, and what is known of single steps."""

    stage_times: Histogram = field(default_factory=Histogram)
    """This rank's part of each step."""
    step_times: Histogram = field(default_factory=Histogram)
    """Rank 0: each step from its start to its result."""
    first_token_times: Histogram = field(default_factory=Histogram)
    """Rank 0: each request from its submission to its first token."""
    trace: deque[TracedStep] = field(default_factory=lambda: deque(maxlen=TRACED_STEPS))
    """The last steps, oldest first."""
    ran: Step | None = None
    """The last step."""
    last_step: int = 0
    last_began_s: float = 0.0
    last_step_at_s: float = 0.0
    """When the last step ended; monotonic, 0 before the first."""
    batch: int = 0
    """Sequences in the last step."""

    def counters(self) -> dict[str, float]:
        """The counters by name."""
        return {name: getattr(self, name) for name in COUNTERS}

    def step_ran(self, step: Step, began_s: float) -> None:
        """Count a step that the stage has just run."""
        now_s = time.monotonic()
        self.steps += 1
        self.compute_s += now_s - began_s
        self.stage_times.add(now_s - began_s)
        for row in step.rows:
            self.tokens_out += row.sample
            self.tokens_in += 0 if row.sample else len(row.tokens)
        self.ran, self.last_step, self.batch = step, step.number, len(step.rows)
        self.last_began_s, self.last_step_at_s = began_s, now_s

    def step_sent(self, step: Step, arrived_s: float) -> float:
        """Keep the step that ran last, now that its result has been handed on; the time of that."""
        now_s = time.monotonic()
        if step.rows and step is self.ran:
            self.send_s += now_s - self.last_step_at_s
            times = (arrived_s, self.last_began_s, self.last_step_at_s, now_s)
            tokens = sum(len(row.tokens) for row in step.rows)
            sequences = tuple(row.sequence_id for row in step.rows)
            self.trace.append(TracedStep(step.number, step.epoch, times, tokens, sequences))
        return now_s

    def traced(self, sequence: int, most: int) -> list[tuple[Any, ...]]:
        """The last steps (of one sequence, if not 0), oldest first, in unix time. Any thread.

        Each in the order of control.proto's TraceStep.
        """
        offset_s = time.time() - time.monotonic()
        wanted = [s for s in self.trace.copy() if not sequence or sequence in s.sequences]
        return [
            (s.number, s.epoch, *(t + offset_s for t in s.times), s.tokens, s.sequences)
            for s in wanted[-most:]
        ]


COUNTERS = tuple(f.name for f in dataclasses.fields(Counters))
