"""Rank 0: decides every step, runs its own stage, and tells the clients. Engine thread."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from daemon.engine.absence import Absence
from daemon.engine.clients import Clients
from daemon.engine.drains import Drains
from daemon.engine.interfaces import (
    Cancel,
    CancelOrder,
    DrainOrder,
    Event,
    PeerChange,
    Probe,
    Received,
    Report,
    Shard,
    Submit,
    Wire,
)
from daemon.engine.outage import Outage
from daemon.engine.pipeline import Pipeline
from daemon.engine.route import next_rank
from daemon.engine.stage_runner import StageRunner
from daemon.errors import CommError, ModelError, NotReady, PlacementError
from daemon.messages import (
    Assign,
    Drain,
    Drained,
    Hello,
    LinkState,
    Ready,
    Refused,
    Step,
    StepResult,
)

if TYPE_CHECKING:
    from daemon.engine.membership import Membership
    from daemon.engine.meter import Meter
    from daemon.engine.scheduler import Scheduler
    from daemon.engine.sequences import Sequence
    from daemon.settings import LimitsPart

log = logging.getLogger(__name__)


class Leader:
    """The cluster's one place of decision."""

    def __init__(
        self,
        hello: Hello,
        membership: Membership,
        scheduler: Scheduler,
        shard: Shard,
        wire: Wire,
        report: Report,
        meter: Meter,
        limits: LimitsPart,
    ) -> None:
        self._hello = hello
        self._membership = membership
        self._scheduler = scheduler
        self._shard = shard
        self._wire = wire
        self._report = report
        self._limits = limits
        self._pipeline = Pipeline(scheduler, StageRunner(0, shard, meter), meter, self._send)
        self._absence = Absence(limits.absence_timeout_s)
        self._drains = Drains()
        self._hopeless = ""
        self._clients = Clients(scheduler, meter)
        self._was_ready = False
        self._stopped_at: float | None = None
        self._outage: Outage | None = None
        self.kv_capacity_bytes = 0
        """What this rank's caches may grow to; 0: no bound. Read by the sampler."""
        self.waiting_for = "starting"
        """Why no steps run, in words; empty when they do. Read by other threads."""

    @property
    def epoch(self) -> int:
        """The current epoch, or the last one."""
        return self._membership.epoch

    @property
    def queue_depth(self) -> int:
        """Requests that wait for a place."""
        return self._scheduler.queue_depth

    @property
    def sequences(self) -> int:
        """Requests that take part in steps."""
        return self._scheduler.running

    @property
    def in_flight(self) -> int:
        """Steps on their way through the ranks."""
        return self._scheduler.in_flight

    def requests(self) -> list[Sequence]:
        """All requests, running first, each oldest first. Safe on any thread: a moment's copy."""
        return self._scheduler.everyone()

    def start(self) -> None:
        """Greet oneself; alone, that is everybody."""
        self._report.state("JOINING", "waiting for the other ranks")
        self._begin(self._membership.hello(self._hello))

    def handle(self, event: Event) -> None:
        """Take one event."""
        match event:
            case Received():
                with self._pipeline.work():
                    self._received(event.open())
            case PeerChange(rank=rank, up=False, reason=reason):
                self._end_drain(rank)  # whoever comes in its place was not taken out of work
                self._ended(self._membership.lost(rank), f"rank {rank} lost: {reason}")
            case Submit(sequence=sequence):
                self._clients.submit(sequence, self._refusal(sequence))
            case Cancel(listener=listener, request_id=request_id):
                self._clients.cancel(listener, request_id)
            case Probe():
                self._probe(event)
            case DrainOrder(on=on):
                self._drain(Drain(0, on))
            case CancelOrder(request_id=request_id):
                count = self._clients.cancel_ordered(request_id)
                text = f"{request_id}: {count or 'none'} cancelled by the operator"
                self._report.event("cancel", text)
            case _:
                pass

    def advance(self) -> bool:
        """Run one step on the own stage and hand it on, if the pipeline has room for one."""
        if not self._membership.running:
            return False
        step = self._scheduler.schedule(self._membership.epoch)
        if step is not None:
            with self._pipeline.work():
                self._dispatch(step)
        return step is not None

    def tick(self) -> None:
        """Give up what does not come back: the requests concerned fail, the others go on."""
        now = time.monotonic()
        self._tick_recovery(now)
        self._tick_absence(now)
        self._tick_drains(now)
        timeout_s = self._limits.step_timeout_s
        overdue = self._pipeline.overdue(timeout_s)
        if not overdue:
            return
        text = f"no answer from the pipeline within {timeout_s:g} s"
        for number in overdue:
            self._finish(StepResult(self._membership.epoch, number, error=text))
        order = self._membership.restart_epoch()
        self._ended(ended=True, reason=text)
        self._begin(order)

    def _tick_recovery(self, now: float) -> None:
        """Requests wait for a lost rank, but not for ever."""
        if self._membership.running:
            self._stopped_at = None
            return
        self._stopped_at = self._stopped_at or now
        if now - self._stopped_at > self._limits.recovery_timeout_s:
            self._clients.tell(self._scheduler.fail_all(NotReady(self.waiting_for)))

    def _tick_absence(self, now: float) -> None:
        """Let the others carry the layers of ranks that stay away, if they can."""
        # Who has never been there is being started, and may take its time.
        late = self._absence.overdue(self._membership.missing, now) if self._was_ready else ()
        if not late:
            return
        names = ", ".join(str(rank) for rank in late)
        self._report.event("rank_away", f"rank {names}: away too long, the others take its layers")
        try:
            self._begin(self._membership.do_without(late))
        except ModelError as error:
            self._hopeless = f"rank {names} is away, and the others can't take its layers: {error}"
            self._wait(self._hopeless)
            self._clients.tell(self._scheduler.fail_all(NotReady(self._hopeless)))

    # ---- ranks

    def _received(self, value: object) -> None:
        match value:
            case StepResult():
                if value.epoch == self._membership.epoch and self._membership.running:
                    self._finish(value)
            case Hello():
                self._greeted(value)
            case Ready(error=error) if error:
                self._report.event("rank_failed", f"rank {value.rank} can't load: {error}")
                self._wait(f"rank {value.rank} can't load: {error}")
            case Ready():
                self._became_ready(self._membership.ready(value))
            case Drain():
                self._drain(value)
            case LinkState():
                ended, order = self._membership.link(value)
                self._ended(ended, f"link between rank {value.rank} and {value.peer} lost")
                self._begin(order)
            case _:
                log.warning("unexpected_message", extra={"fields": {"type": type(value).__name__}})

    def _greeted(self, hello: Hello) -> None:
        try:
            self._begin(self._membership.hello(hello))
        except PlacementError as error:
            if not self._was_ready:
                raise  # whoever starts the cluster must read it
            self._report.event("rank_refused", str(error))
            self._wait(str(error))
        except ModelError as error:
            # The rank that is unlike us fails, with the reason; nobody else does.
            self._report.event("rank_refused", str(error))
            self._wait(str(error))
            self._send(hello.rank, Refused(str(error)))

    def _begin(self, order: Assign | None) -> None:
        """Start an epoch: everyone drops its sequences and loads what it lacks."""
        if order is None:
            if not self._membership.running:
                self._wait(self._membership.waiting_for)
            return
        self._forget_steps()
        self._pipeline.next_rank = next_rank(order.plan, 0)
        self._clients.tell(self._scheduler.begin(order.plan, self._membership.hellos))
        order = replace(order, kv_capacity_bytes=self._scheduler.kv_capacity_bytes)
        self.kv_capacity_bytes = order.kv_capacity_of(0)
        for rank in self._membership.present:
            if rank != 0:
                self._send(rank, order)
        self._shard.assign(*order.plan.ranges[0])
        self._became_ready(self._membership.ready(Ready(order.epoch, 0)))

    def _became_ready(self, running: bool) -> None:
        if not running:
            self._wait(self._membership.waiting_for)
            return
        self._was_ready = True
        self.waiting_for = self._hopeless = ""
        # Here too: it may end again before the next look at deadlines.
        self._stopped_at = None
        self._absence.overdue(self._membership.missing, time.monotonic())
        self._report_working()
        text = f"epoch {self._membership.epoch} runs"
        if self._outage is not None:
            text = self._outage.rebuilt(self._membership.epoch, time.monotonic())
            if not (self._scheduler.running or self._scheduler.queue_depth):
                self._outage = None  # nobody waits for a token
        self._report.event("epoch", text)

    def _report_working(self) -> None:
        if self._drains.draining(0):
            self._report.state("DRAINING", "taken out of work by the operator")
        elif not self.waiting_for:
            self._report.state("READY")

    # ---- ranks taken out of work

    @property
    def drained(self) -> bool:
        """Whether rank 0 drains and has nothing left to do. Read by the sampler."""
        return self._drains.is_done(0)

    def _drain(self, drain: Drain) -> None:
        rank = drain.rank
        if not drain.on:
            if self._end_drain(rank):
                self._ended(self._membership.running, f"rank {rank} works again", accuse=False)
                self._begin(self._membership.take_back(rank))
        elif not self._drains.draining(rank):
            self._take_out(rank)
        if rank == 0:
            self._report_working()
        self._tick_drains(time.monotonic())

    def _take_out(self, rank: int) -> None:
        """Move a rank's layers to the others if they have room, else admit no more requests."""
        if rank != 0:
            try:
                order = self._membership.retire(rank)
            except ModelError as error:
                self._report.event("drain", f"rank {rank}: its layers stay: {error}")
            else:
                self._drains.moved(rank)
                text = f"rank {rank} drains: the others take its layers"
                self._ended(ended=True, reason=text, accuse=False)
                self._begin(order)
                return
        self._drains.hold(rank, time.monotonic())
        self._scheduler.admitting = False
        self._report.event("drain", f"rank {rank} drains: no new request begins")

    def _end_drain(self, rank: int) -> bool:
        was_moved = self._drains.end(rank)
        self._scheduler.admitting = self._drains.admits
        return was_moved

    def _tick_drains(self, now_s: float) -> None:
        for rank in self._drains.done(self._scheduler.running):
            if rank == 0:
                self._report.event("drained", "rank 0 has nothing left to do")
            else:
                self._send(rank, Drained(rank))
        if self._drains.held_s(now_s) > self._limits.recovery_timeout_s:
            error = NotReady("a rank is taken out of work: no new request begins until it is back")
            self._clients.tell(self._scheduler.fail_waiting(error))

    def _ended(self, ended: bool, reason: str, *, accuse: bool = True) -> None:
        if ended:
            # An epoch that ends before its first token prolongs the outage before it.
            now_s, live = time.monotonic(), self._scheduler.running
            self._outage = self._outage or Outage(reason, now_s, live)
            if accuse:
                self._clients.accuse(reason)
            self._forget_steps()
            self._report.event("epoch_ended", reason)
        self._wait(self._membership.waiting_for)

    def _forget_steps(self) -> None:
        """What is in flight will not come back; the sequences run again from their tokens."""
        self._scheduler.rewind()
        self._pipeline.forget(NotReady(self._membership.waiting_for or "the epoch ended"))

    def _wait(self, reason: str) -> None:
        if reason and reason != self.waiting_for:
            self.waiting_for = reason
            self._report.state("JOINING", reason)

    # ---- steps

    def _dispatch(self, step: Step) -> None:
        result = self._pipeline.dispatch(step)
        if result is not None:
            self._finish(result)

    def _finish(self, result: StepResult) -> None:
        self._pipeline.returned(result)
        self._clients.tell(self._scheduler.commit(result))
        if self._outage is not None and result.tokens:
            self._report.event("recovered", self._outage.first_token(time.monotonic()))
            self._outage = None

    def _send(self, dst: int, value: object) -> None:
        try:
            self._wire.send(dst, value)
        except CommError as error:
            self._ended(self._membership.lost(dst), f"rank {dst} lost: {error}")

    def _refusal(self, sequence: Sequence) -> str:
        """Why a new request is not taken now; empty if it is."""
        if not self._was_ready and not sequence.resumed:
            return f"the cluster is not ready: {self.waiting_for}"
        return self._hopeless

    def _probe(self, probe: Probe) -> None:
        if not self._membership.running:
            probe.done(NotReady(self.waiting_for))
            return
        step = self._scheduler.probe(self._membership.epoch)
        self._pipeline.expect(step, probe)
        self._dispatch(step)
