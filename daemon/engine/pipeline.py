"""Steps on their way through the ranks: sent, since when, and who asked for them. Rank 0.

Runs rank 0's own stage and hands on; decides nothing. Engine thread only.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.errors import StepFailed
from daemon.messages import StepFrame, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from daemon.engine.interfaces import Probe
    from daemon.engine.meter import Meter
    from daemon.engine.scheduler import Scheduler
    from daemon.engine.stage_runner import StageRunner
    from daemon.messages import Step


class Pipeline:
    """The stages as rank 0 sees them."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: StageRunner,
        meter: Meter,
        send: Callable[[int, object], None],
    ) -> None:
        """``send`` takes a rank and a value; a rank that can't be reached is its business."""
        self._scheduler = scheduler
        self._runner = runner
        self._meter = meter
        self._send = send
        self._since_s: dict[int, float] = {}
        """Steps that have not come back, and when they were decided (monotonic)."""
        self._probes: dict[int, Probe] = {}
        self._idle_since_s = time.monotonic()
        self.next_rank: int | None = None
        """Who has the layers after ours; None if we have the last."""

    @contextmanager
    def work(self) -> Generator[None]:
        """A block that works: the time since the last one was a wait, if results were under way."""
        if self._since_s:
            self._meter.wait_s += time.monotonic() - self._idle_since_s
        yield
        self._idle_since_s = time.monotonic()

    def dispatch(self, step: Step) -> StepResult | None:
        """Run the own stage and hand on; the result, if there is no other stage."""
        decided_s = self._since_s[step.number] = time.monotonic()
        answer, error = self._runner.run(step, None)
        self._scheduler.took(step, time.monotonic() - decided_s)
        self._count()
        if self.next_rank is None:
            tokens = () if error or answer is None else tuple(answer)
            self._meter.step_sent(step, decided_s)
            return StepResult(step.epoch, step.number, tokens, error)
        self._send(self.next_rank, StepFrame(step, answer, error))
        self._meter.step_sent(step, decided_s)
        return None

    def expect(self, step: Step, probe: Probe) -> None:
        """Tell ``probe`` when ``step`` is back."""
        self._probes[step.number] = probe

    def returned(self, result: StepResult) -> None:
        """A step is back, or given up."""
        since_s = self._since_s.pop(result.number, None)
        if since_s is not None and result.tokens:
            self._meter.step_times.add(time.monotonic() - since_s)
        probe = self._probes.pop(result.number, None)
        if probe is not None:
            probe.done(StepFailed(result.error) if result.error else None)

    def forget(self, error: Exception) -> None:
        """Nothing that is under way will come back."""
        self._since_s.clear()
        for probe in self._probes.values():
            probe.done(error)
        self._probes.clear()

    def overdue(self, timeout_s: float) -> list[int]:
        """Numbers of steps that should have come back."""
        now_s = time.monotonic()
        return [number for number, since_s in self._since_s.items() if now_s - since_s > timeout_s]

    def _count(self) -> None:
        scheduler, meter = self._scheduler, self._meter
        meter.prefix_lookup_tokens = scheduler.lookup_tokens
        meter.prefix_hit_tokens = scheduler.hit_tokens
        meter.preemptions = scheduler.preemptions
        meter.evictions = scheduler.evictions
