"""A rank other than 0: takes steps from the previous rank and hands them on. Engine thread."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from daemon.engine.interfaces import DrainOrder, Event, PeerChange, Received, Report, Shard, Wire
from daemon.engine.route import next_rank
from daemon.engine.stage_runner import StageRunner
from daemon.errors import CommError, ModelError
from daemon.messages import (
    Assign,
    Drain,
    Drained,
    Hello,
    LinkState,
    Ready,
    Refused,
    StepFrame,
    StepResult,
)

if TYPE_CHECKING:
    from daemon.engine.meter import Meter

log = logging.getLogger(__name__)


class Follower:
    """Joins when it sees rank 0, loads what the plan gives it, then runs steps of that epoch."""

    def __init__(
        self, hello: Hello, shard: Shard, wire: Wire, report: Report, meter: Meter
    ) -> None:
        self._hello = hello
        self._rank = hello.rank
        self._next: int | None = None
        self._shard = shard
        self._runner = StageRunner(hello.rank, shard, meter)
        self._wire = wire
        self._report = report
        self._meter = meter
        self._idle_since = time.monotonic()
        self._draining = False
        self.drained = False
        """Rank 0 asks nothing more of this rank. Read by the sampler."""
        self.kv_capacity_bytes = 0
        """What this rank's caches may grow to; 0: no bound. Read by the sampler."""
        self.epoch = 0
        """The epoch whose steps it runs; 0 before the first."""

    def start(self) -> None:
        """Wait for rank 0's link; see `handle`."""
        self._report.state("JOINING", "waiting for rank 0")

    def advance(self) -> bool:
        """Followers have no work of their own."""
        return False

    def tick(self) -> None:
        """Followers have no deadlines of their own: the links have."""

    def handle(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, PeerChange):
            self._peer_changed(event)
        elif isinstance(event, DrainOrder):
            self._drain(on=event.on)
        elif isinstance(event, Received):
            if self._runner.live:
                now_s = time.monotonic()
                self._meter.wait_s += now_s - self._idle_since
                self._idle_since = now_s
            value = event.open()
            if isinstance(value, StepFrame):
                self._step(value, event.at_s)
            elif isinstance(value, Assign):
                self._assigned(value)
            elif isinstance(value, Refused):
                raise ModelError(value.reason)
            elif isinstance(value, Drained):
                self.drained = self._draining
                self._report.event("drained", f"rank {self._rank} has nothing left to do")
            else:
                log.warning("unexpected_message", extra={"fields": {"type": type(value).__name__}})

    def _peer_changed(self, change: PeerChange) -> None:
        if change.rank == 0 and change.up:
            self._send(0, replace(self._hello, epoch=self.epoch))
            self._report.state("JOINING", "waiting for the plan")
            if self._draining:
                self._drain(on=True)  # a new rank 0 does not know
        elif change.rank == 0:
            self._report.event("epoch_ended", f"rank 0 lost: {change.reason}")
            self._report.state("JOINING", f"waiting for rank 0: {change.reason}")
        else:
            self._send(0, LinkState(self._rank, change.rank, change.up))

    def _assigned(self, assign: Assign) -> None:
        lo, hi = assign.plan.ranges[self._rank]
        try:
            if assign.plan.digest != assign.digest:
                raise ModelError(
                    f"rank 0's plan has digest {assign.digest}, here it is {assign.plan.digest}: "
                    "the ranks run different versions"
                )
            self._shard.assign(lo, hi)
        except ModelError as error:
            self._send(0, Ready(assign.epoch, self._rank, str(error)))
            raise
        self._next = next_rank(assign.plan, self._rank)
        self.epoch = assign.epoch
        self.kv_capacity_bytes = assign.kv_capacity_of(self._rank)
        self._runner.live.clear()
        self._idle_since = time.monotonic()
        self._report_state()
        self._send(0, Ready(assign.epoch, self._rank))

    def _drain(self, *, on: bool) -> None:
        self._draining, self.drained = on, False
        self._report_state()
        self._send(0, Drain(self._rank, on))

    def _report_state(self) -> None:
        if self._draining:
            self._report.state("DRAINING", "taken out of work by the operator")
        else:
            self._report.state("READY")

    def _step(self, frame: StepFrame, arrived_s: float) -> None:
        if frame.step.epoch != self.epoch:
            return  # sent before the epoch ended; its sequences are run again
        answer, error = self._runner.run(frame.step, frame.hidden, frame.error)
        if self._next is None:
            tokens = () if error or answer is None else tuple(answer)
            self._send(0, StepResult(frame.step.epoch, frame.step.number, tokens, error))
        else:
            self._send(self._next, StepFrame(frame.step, answer, error))
        self._idle_since = self._meter.step_sent(frame.step, arrived_s)

    def _send(self, dst: int, value: object) -> None:
        try:
            self._wire.send(dst, value)
        except CommError as error:  # its PeerChange follows; rank 0 decides what becomes of it
            log.warning("send_failed", extra={"fields": {"dst": dst, "error": str(error)}})
