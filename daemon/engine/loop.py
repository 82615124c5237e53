"""The engine thread's loop: events in, one piece of work at a time out."""

from __future__ import annotations

import queue
from typing import Protocol

from daemon.engine.interfaces import Event, Stop

TICK_S = 0.25
"""Longest time without a look at deadlines."""

Inbox = queue.SimpleQueue[Event]
"""What I/O threads hand to the engine thread. Bounded by its sources: at most two steps for each
stage are in flight, links apply back-pressure, and the API process bounds its open requests."""


class Node(Protocol):
    """A leader (rank 0) or a follower."""

    def start(self) -> None:
        """Called once, on the engine thread."""
        ...

    def handle(self, event: Event) -> None:
        """Take one event."""
        ...

    def advance(self) -> bool:
        """Do one step's worth of own work, if there is any; whether there was."""
        ...

    def tick(self) -> None:
        """Look at deadlines."""
        ...


def run(node: Node, inbox: Inbox) -> None:
    """Serve ``node`` until a `Stop`. News is taken before new work is begun."""
    node.start()
    while True:
        busy = node.advance()
        node.tick()
        try:
            event = inbox.get(block=not busy, timeout=TICK_S)
            while True:
                if isinstance(event, Stop):
                    return
                node.handle(event)
                event = inbox.get_nowait()
        except queue.Empty:
            continue
