"""Notices a step that hangs, or computes without an end, while the rest of its process goes on.

The engine thread can't look at itself, so another does. A whole process that is stopped is its
supervisor's business. Knows no process and no exit: `on_stuck` does what follows.
"""

from __future__ import annotations

import resource
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from daemon.engine.interfaces import Shard
from daemon.engine.step_times import LEAST_CPU_S, StepTimes

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.messages import Step

LOOK_S = 0.25
IDLE_SHARE = 0.1
"""Of one core: a process that uses less, and reads nothing from disk, computes nothing. Not more:
one that has to share its core with nine others still gets that much."""
MOST_SHARE = 0.9
"""Of the time after which rank 0 gives up the requests of a step: a new rank may yet save them."""


class SizedShard(Shard, Protocol):
    """A shard that knows how much it holds."""

    @property
    def weights_bytes(self) -> int:
        """Parameters held."""
        ...

    @property
    def computes_here(self) -> bool:
        """Whether the process is busy while it computes: no GPU does that for it."""
        ...


class WatchedShard:
    """A shard whose steps can be seen from another thread. Implements `interfaces.Shard`."""

    def __init__(self, shard: SizedShard) -> None:
        self._shard = shard
        self.step: Step | None = None
        """The one that is being run."""
        self.times = StepTimes()
        self._layers = (0, 0)

    def assign(self, lo: int, hi: int) -> None:
        """Pass on; loading may take as long as it takes. Other layers, other times."""
        self._shard.assign(lo, hi)
        if (lo, hi) != self._layers:
            here = self._shard.computes_here
            self._layers = lo, hi
            self.times = StepTimes(self._shard.weights_bytes, computes_here=here)

    def run(self, step: Step, hidden: Any) -> Any:
        """Pass on, in plain view."""
        began_s, used_s = time.monotonic(), time.process_time()
        self.step = step
        try:
            return self._shard.run(step, hidden)
        finally:
            self.step = None
            self.times.note(step, time.monotonic() - began_s, time.process_time() - used_s)


class Hang:
    """Looks at one step again and again. Pure.

    Looks are counted, and the processor's seconds: neither goes on while this process is stopped.
    """

    def __init__(self, shard: WatchedShard, step_timeout_s: float) -> None:
        self._shard = shard
        self._step_timeout_s = step_timeout_s
        self._step: Step | None = None
        self._looks = 0
        self._idle_looks = 0
        self._used_s = 0.0

    def look(self, used_s: float, *, idle: bool) -> str:
        """Why the present step is stuck, in words; empty if it is not, or there is none.

        Args:
            used_s: processor seconds of this process since the last look.
            idle: whether nothing was computed or read since then.
        """
        step = self._shard.step
        if step is None or step is not self._step:
            self._step, self._looks, self._idle_looks, self._used_s = step, 0, 0, 0.0
            return ""
        self._looks += 1
        self._idle_looks = self._idle_looks + 1 if idle else 0
        self._used_s += used_s
        idle_s, age_s = self._idle_looks * LOOK_S, self._looks * LOOK_S
        patience = self._shard.times.patience(step, self._step_timeout_s / 2)
        if idle_s >= patience.idle_s:
            return f"step {step.number} hangs: nothing was computed for {idle_s:g} s"
        if self._used_s >= patience.cpu_s and age_s >= LEAST_CPU_S:
            return (
                f"step {step.number} does not end: it has computed for {self._used_s:.1f} s, "
                f"steps like it never need {patience.cpu_s:.1f} s"
            )
        if age_s >= self._step_timeout_s * MOST_SHARE:
            return f"step {step.number} does not end: it has run for {age_s:g} s"
        return ""


class Watchdog:
    """The thread that looks."""

    def __init__(
        self, shard: WatchedShard, step_timeout_s: float, on_stuck: Callable[[str], None]
    ) -> None:
        self._hang = Hang(shard, step_timeout_s)
        self._on_stuck = on_stuck
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_S * 4)

    def _run(self) -> None:
        then_s, used_s, read = time.monotonic(), time.process_time(), _disk_reads()
        while not self._stop.wait(LOOK_S):
            now_s, now_used_s, now_read = time.monotonic(), time.process_time(), _disk_reads()
            idle = now_used_s - used_s < IDLE_SHARE * (now_s - then_s) and now_read == read
            reason = self._hang.look(now_used_s - used_s, idle=idle)
            if reason:
                self._on_stuck(reason)
                return
            then_s, used_s, read = now_s, now_used_s, now_read


def _disk_reads() -> int:
    """Pages of ours that had to be read from disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
