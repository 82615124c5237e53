"""Who waits for which request, and what each client is told. Engine thread; rank 0.

Knows no rank and no step: `leader` tells it what came of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from daemon.engine.sequences import Listener, Sequence, Update
from daemon.engine.suspects import MOST_LOSSES, Suspects
from daemon.errors import CancelledByOperator, EngineError, NotReady, StepFailed

if TYPE_CHECKING:
    from daemon.engine.meter import Meter
    from daemon.engine.scheduler import Scheduler

News = list[tuple[Sequence, Update]]


class Clients:
    """The requests of all clients, from submission to their last update."""

    def __init__(self, scheduler: Scheduler, meter: Meter) -> None:
        self._scheduler = scheduler
        self._meter = meter
        self._requests: dict[tuple[Listener, str], Sequence] = {}
        self._suspects = Suspects()

    def submit(self, sequence: Sequence, refusal: str) -> None:
        """Queue a request, or tell its client why not: ``refusal``, or the scheduler's reason."""
        try:
            if refusal:
                raise NotReady(refusal)
            self._scheduler.submit(sequence)
            sequence.submitted_at_s = time.monotonic()
        except EngineError as error:
            sequence.listener([Update(sequence.request_id, error=error)])
        else:
            self._requests[sequence.listener, sequence.request_id] = sequence

    def cancel(self, listener: Listener, request_id: str | None) -> None:
        """A client wants no more of one request, or of any (None)."""
        for key in [k for k in self._requests if k[0] is listener]:
            if request_id in {None, key[1]}:
                sequence = self._requests.pop(key)
                self._suspects.clear(sequence)
                self._scheduler.cancel(sequence)

    def cancel_ordered(self, request_id: str) -> int:
        """The operator ends a request, with all its choices; how many sequences that were."""
        wanted = [s for s in self._requests.values() if _is_called(s, request_id)]
        for sequence in wanted:
            self._scheduler.cancel(sequence)
            error = CancelledByOperator("cancelled by the operator")
            self.tell([(sequence, Update(sequence.request_id, error=error))])
        return len(wanted)

    def accuse(self, reason: str) -> None:
        """A rank was lost: end the requests that were there at too many losses in a row."""
        running = [s for s in self._requests.values() if s.fed]
        for sequence in self._suspects.rank_lost(running):
            self._scheduler.cancel(sequence)
            text = f"given up: {MOST_LOSSES} losses of a rank in a row without a token, {reason}"
            self.tell([(sequence, Update(sequence.request_id, error=StepFailed(text)))])

    def tell(self, news: News) -> None:
        """Hand each client its updates of this step in one call."""
        by_listener: dict[Listener, list[Update]] = {}
        for sequence, update in news:
            if update.tokens:
                self._note_token(sequence)
            by_listener.setdefault(sequence.listener, []).append(update)
            self._suspects.clear(sequence)
            if update.finish_reason or update.error:
                self._requests.pop((sequence.listener, sequence.request_id), None)
        for listener, updates in by_listener.items():
            listener(updates)

    def _note_token(self, sequence: Sequence) -> None:
        now_s = time.monotonic()
        if not sequence.first_token_at_s:
            sequence.first_token_at_s = now_s
            self._meter.first_token_times.add(now_s - sequence.submitted_at_s)
        sequence.last_token_at_s = now_s


def _is_called(sequence: Sequence, request_id: str) -> bool:
    return request_id in {sequence.request_id, sequence.request_id.rpartition("/")[0]}
