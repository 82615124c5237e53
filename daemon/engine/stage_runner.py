"""Runs steps on this rank's shard and counts what they cost. Engine thread only."""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon.engine.interfaces import Shard
    from daemon.engine.meter import Meter
    from daemon.messages import Step

log = logging.getLogger(__name__)


class StageRunner:
    """One rank's part of every step. A step that raises becomes an error text, never an end."""

    def __init__(self, rank: int, shard: Shard, meter: Meter) -> None:
        self._rank = rank
        self._shard = shard
        self._meter = meter
        self.live: set[int] = set()
        """Sequences that are open on this rank: without any, waiting is idling."""

    def run(self, step: Step, hidden: Any, error: str = "") -> tuple[Any, str]:
        """Apply ``step``; what the shard answered, and why the step failed, here or earlier.

        After a failure everything but the rows still applies, here and on every later rank, so
        that all ranks go on holding the same sequences.
        """
        if error:
            step = dataclasses.replace(step, rows=())
        if not (step.rows or step.opened or step.closed or step.kept or step.dropped):
            return None, error
        began = time.monotonic()
        try:
            answer = self._shard.run(step, None if error else hidden)
        except Exception as failure:
            log.exception("step_failed", extra={"fields": {"step": step.number}})
            answer, error = None, f"rank {self._rank}: {type(failure).__name__}: {failure}"
        self._meter.step_ran(step, began)
        self.live.difference_update(step.closed)
        self.live.update(opened.sequence_id for opened in step.opened)
        return answer, error
