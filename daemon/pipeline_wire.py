"""Carries the engine's messages over the communicator, and its news into the inbox.

The handlers run on I/O threads and only queue; values are decoded on the engine thread, since a
lazy MLX array belongs to the thread that made it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from daemon import messages
from daemon.comm import codec
from daemon.engine.interfaces import PeerChange, Received

if TYPE_CHECKING:
    from daemon.comm.communicator import Communicator
    from daemon.comm.events import Message, PeerEvent
    from daemon.engine.loop import Inbox

STEP_TAG = 1
"""One tag for everything, so that it stays in order per pair of ranks."""

for _class in (
    messages.SamplingParams,
    messages.OpenSequence,
    messages.Row,
    messages.KeptBlock,
    messages.Step,
    messages.StepFrame,
    messages.TokenOut,
    messages.PromptScores,
    messages.StepResult,
    messages.Plan,
    messages.Hello,
    messages.Refused,
    messages.Assign,
    messages.Ready,
    messages.LinkState,
    messages.Drain,
    messages.Drained,
):
    codec.register(_class)


class PipelineWire:
    """Implements `daemon.engine.interfaces.Wire`."""

    def __init__(self, communicator: Communicator, inbox: Inbox, timeout_s: float) -> None:
        self._communicator = communicator
        self._inbox = inbox
        self._timeout_s = timeout_s
        self.serialise_s = 0.0
        """Spent on packing and unpacking; engine thread."""
        communicator.listen(STEP_TAG, self._received)
        communicator.on_peer(self._peer_changed)

    def send(self, dst: int, value: Any) -> None:
        """Queue ``value`` for another rank; waits for a link that is not up yet, within limits.

        Raises:
            CommError: the rank is gone, or its link did not come up in time.
        """
        began_s = time.monotonic()
        payload = codec.encode(value)
        self.serialise_s += time.monotonic() - began_s
        self._communicator.post(dst, STEP_TAG, payload, timeout_s=self._timeout_s)

    def _received(self, message: Message) -> None:
        opening = partial(self._open, message.payload)
        self._inbox.put(Received(message.source, opening, time.monotonic()))

    def _open(self, payload: bytes | memoryview) -> Any:
        began_s = time.monotonic()
        value = codec.decode(payload)
        self.serialise_s += time.monotonic() - began_s
        return value

    def _peer_changed(self, event: PeerEvent) -> None:
        self._inbox.put(PeerChange(event.rank, event.kind == "up", event.reason))
