"""The engine's face to other threads of rank 0's worker: checks requests, puts them in the inbox.

Called on gRPC threads; the answers come through listeners, on the engine thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.engine.interfaces import Cancel, Probe, Submit
from daemon.engine.sequences import Listener, Sequence
from daemon.errors import InvalidRequest, NotReady

if TYPE_CHECKING:
    from daemon.engine.leader import Leader
    from daemon.engine.loop import Inbox
    from daemon.messages import SamplingParams


@dataclass(frozen=True)
class ServedModel:
    """What clients may know of the model."""

    name: str
    fingerprint: str
    layers: int
    vocab_size: int
    max_context: int
    world_size: int


@dataclass(frozen=True)
class Call:
    """A request as a client sends it."""

    request_id: str
    prompt: tuple[int, ...]
    max_tokens: int
    stop_ids: frozenset[int]
    sampling: SamplingParams
    generated: tuple[int, ...] = ()
    """Given out before an earlier loss of rank 0."""
    resumed: bool = False
    """The client has seen the cluster up: it waits for it rather than be refused."""
    client: str = ""
    """Who asked, for people."""


class EngineFront:
    """Thread-safe."""

    def __init__(self, model: ServedModel, leader: Leader, inbox: Inbox) -> None:
        self.model = model
        self._leader = leader
        self._inbox = inbox

    @property
    def waiting_for(self) -> str:
        """Why no steps run, in words; empty when they do."""
        return self._leader.waiting_for

    @property
    def running(self) -> int:
        """Sequences that take part in steps."""
        return self._leader.sequences

    @property
    def queued(self) -> int:
        """Requests that wait for a place."""
        return self._leader.queue_depth

    @property
    def epoch(self) -> int:
        """The cluster's epoch."""
        return self._leader.epoch

    def submit(self, call: Call, listener: Listener) -> None:
        """Queue a request; ``listener`` gets its updates until the last one.

        Raises:
            InvalidRequest: ids or lengths that this model can't take.
        """
        self._check(call)
        room = self.model.max_context - len(call.prompt)
        sequence = Sequence(
            call.request_id,
            call.prompt,
            min(call.max_tokens, room),
            call.stop_ids,
            call.sampling,
            listener,
            generated=list(call.generated),
            resumed=call.resumed,
            client=call.client,
        )
        self._inbox.put(Submit(sequence))

    def cancel(self, listener: Listener, request_id: str | None = None) -> None:
        """Drop one request of this listener, or all of them."""
        self._inbox.put(Cancel(listener, request_id))

    def probe(self, timeout_s: float) -> int:
        """Send an empty step through all ranks and wait for it; the epoch it ran in.

        Raises:
            NotReady: a rank is missing, or the step did not come back in time.
        """
        answered = threading.Event()
        outcome: list[Exception | None] = []

        def done(error: Exception | None) -> None:
            outcome.append(error)
            answered.set()

        self._inbox.put(Probe(done))
        if not answered.wait(timeout_s):
            raise NotReady(f"no progress: an empty step did not come back within {timeout_s:g} s")
        if outcome[0] is not None:
            raise NotReady(str(outcome[0])) from outcome[0]
        return self.epoch

    def _check(self, call: Call) -> None:
        if not call.prompt:
            raise InvalidRequest("the prompt has no tokens")
        if call.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {call.max_tokens}: it must be at least 1")
        if len(call.prompt) >= self.model.max_context:
            raise InvalidRequest(
                f"the prompt has {len(call.prompt)} tokens, the context holds "
                f"{self.model.max_context} with the answer: shorten it"
            )
        if len(call.generated) >= min(call.max_tokens, self.model.max_context - len(call.prompt)):
            raise InvalidRequest("the answer is complete already: nothing is left to generate")
        wrong = next(
            (t for t in (*call.prompt, *call.generated) if t >= self.model.vocab_size), None
        )
        if wrong is not None:
            raise InvalidRequest(
                f"token id {wrong} is outside the vocabulary of {self.model.vocab_size}"
            )
