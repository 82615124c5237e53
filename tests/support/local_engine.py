"""A whole engine without processes: the real scheduler over real stages of a small random model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daemon.engine.scheduler import Scheduler, SchedulerLimits
from daemon.engine.sequences import Sequence
from daemon.messages import Plan, SamplingParams, StepResult
from tests.support import staged

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.engine.kv_budget import KvBudget


@dataclass
class LocalEngine:
    """Runs what the scheduler says, one step at a time, on stages of one process."""

    folder: Path
    budget: KvBudget | None = None
    steps: int = 0
    tokens_run: int = 0
    cached: dict[str, int] = field(default_factory=dict[str, int])
    first_token_s: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        self.executors = staged.load_executors(self.folder, [(0, 4), (4, 8)])
        limits = SchedulerLimits(1, 64, 256, 256, 64, prefix_cache=True)
        budget = self.budget
        budget_of = (lambda _plan, _hellos: budget) if budget else None
        self.scheduler = Scheduler(limits, budget_of)
        self.scheduler.begin(Plan("", ()), {})

    def submit(self, name: str, prompt: list[int], count: int) -> Sequence:
        """Queue a greedy request."""
        asked = Sequence(name, tuple(prompt), count, frozenset(), SamplingParams(), lambda _: None)
        asked.submitted_at_s = time.monotonic()
        self.scheduler.submit(asked)
        return asked

    def settle(self) -> None:
        """Until nothing is left to do."""
        while (step := self.scheduler.schedule(1)) is not None:
            self.steps += bool(step.rows)
            self.tokens_run += sum(len(row.tokens) for row in step.rows)
            value: Any = None
            for executor in self.executors:
                value = executor.run(step, value)
            for asked, update in self.scheduler.commit(StepResult(1, step.number, tuple(value))):
                if update.tokens and asked.request_id not in self.first_token_s:
                    waited_s = time.monotonic() - asked.submitted_at_s
                    self.first_token_s[asked.request_id] = waited_s
                    self.cached[asked.request_id] = update.cached_tokens

    def answer(self, name: str, prompt: list[int], count: int) -> list[int]:
        """One request alone, from beginning to end."""
        asked = self.submit(name, prompt, count)
        self.settle()
        return list(asked.generated)
