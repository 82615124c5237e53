"""Who is in, and when an epoch can begin. Pure: events in, decisions out; runs on rank 0.

An epoch is a time in which all ranks hold their layers and agree on every sequence. It ends with
the loss of a rank or of a link between two; the next one begins when everybody is back, or when
those who stay away are done without. Ranks keep loaded weights from one epoch to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daemon.errors import ModelError
from daemon.messages import Assign, Hello, LinkState, Plan, Ready

Planner = Callable[[Mapping[int, Hello]], Plan]
"""Makes the plan from the greetings of all that are there. Raises PlacementError."""


@dataclass
class Membership:
    """What rank 0 knows of the others. Rank 0 itself greets like any other."""

    world_size: int
    planner: Planner
    epoch: int = 0
    running: bool = False
    """Every rank is ready for steps of this epoch."""

    def __post_init__(self) -> None:
        self._hellos: dict[int, Hello] = {}
        self._ready: set[int] = set()
        self._broken: set[frozenset[int]] = set()
        self._assigned = False
        self._absent: set[int] = set()
        self._retired: dict[int, Hello] = {}
        """Greetings of ranks that are there and drained; they are absent as well."""

    def hello(self, hello: Hello) -> Assign | None:
        """A rank asks to take part; the order to send to everyone, once all have.

        Raises:
            ModelError: the rank holds another model; the text names it.
        """
        own = self._hellos.get(0, hello)
        if hello.fingerprint != own.fingerprint:
            raise ModelError(
                f"rank {hello.rank} has another version of the model (fingerprint "
                f"{hello.fingerprint}, rank 0 has {own.fingerprint}): give both the same files"
            )
        if hello.rank in self._hellos or hello.rank in self._absent:
            # It asks again: it has lost us, though we have not noticed. Or it is back at last, and
            # takes its layers from those who carried them.
            self._end_epoch()
        self._absent.discard(hello.rank)
        self._retired.pop(hello.rank, None)
        self._hellos[hello.rank] = hello
        self._broken = {link for link in self._broken if hello.rank not in link}
        return self._begin()

    def lost(self, rank: int) -> bool:
        """A rank is gone; whether an epoch that was under way has ended by that."""
        self._hellos.pop(rank, None)
        self._retired.pop(rank, None)
        return rank not in self._absent and self._end_epoch()

    def do_without(self, ranks: tuple[int, ...]) -> Assign | None:
        """Let the others carry the layers of ranks that stay away; the order to send to them.

        Raises:
            PlacementError: they have not the memory; all goes on waiting.
        """
        before = set(self._absent)
        self._absent.update(ranks)
        try:
            return self._begin()
        except ModelError:
            self._absent = before
            raise

    def retire(self, rank: int) -> Assign | None:
        """End the epoch and let the others carry the layers of a rank that is there and drains.

        Raises:
            PlacementError: they have not the memory; nothing has changed.
        """
        others = {other: hello for other, hello in self._hellos.items() if other != rank}
        self.planner(others)
        if rank in self._hellos:
            self._retired[rank] = self._hellos.pop(rank)
            self._absent.add(rank)
            self._end_epoch()
        return self._begin()

    def take_back(self, rank: int) -> Assign | None:
        """Give layers again to a rank that was retired."""
        hello = self._retired.get(rank)
        return self.hello(hello) if hello else None

    @property
    def present(self) -> tuple[int, ...]:
        """The ranks that take part."""
        return tuple(sorted(self._hellos))

    @property
    def hellos(self) -> Mapping[int, Hello]:
        """What those that take part said of themselves."""
        return self._hellos

    @property
    def missing(self) -> tuple[int, ...]:
        """The ranks that are waited for."""
        everybody = range(self.world_size)
        return tuple(r for r in everybody if r not in self._hellos and r not in self._absent)

    def link(self, state: LinkState) -> tuple[bool, Assign | None]:
        """A link between two other ranks changed: (epoch ended, order to send to everyone)."""
        link = frozenset((state.rank, state.peer))
        if not state.up:
            self._broken.add(link)
            return link <= set(self._hellos) and self._end_epoch(), None
        self._broken.discard(link)
        return False, self._begin()

    def ready(self, ready: Ready) -> bool:
        """A rank has its layers; whether the epoch runs from now on."""
        if ready.epoch != self.epoch or not self._assigned:
            return False
        self._ready.add(ready.rank)
        self.running = self._ready == set(self._hellos)
        return self.running

    def restart_epoch(self) -> Assign | None:
        """Give up the epoch and begin the next one with the same ranks."""
        self._end_epoch()
        return self._begin()

    @property
    def waiting_for(self) -> str:
        """Why no epoch runs, in words; empty when one does."""
        if self.running:
            return ""
        if self.missing:
            return f"waiting for {_ranks(self.missing)} to join"
        broken = self._broken_link()
        if broken:
            a, b = broken
            return f"waiting for the link between rank {a} and rank {b}"
        loading = tuple(r for r in self.present if r not in self._ready)
        return f"waiting for {_ranks(loading)} to load"

    def _begin(self) -> Assign | None:
        if self._assigned or self.missing or self._broken_link():
            return None
        plan = self.planner(self._hellos)
        self.epoch = max([self.epoch, *(h.epoch for h in self._hellos.values())]) + 1
        self._ready.clear()
        self._assigned = True
        return Assign(self.epoch, plan, plan.digest)

    def _broken_link(self) -> tuple[int, ...]:
        """Two ranks that take part and don't reach each other; empty if there are none."""
        there = set(self._hellos)
        return next((tuple(sorted(link)) for link in self._broken if link <= there), ())

    def _end_epoch(self) -> bool:
        ended = self._assigned
        self._assigned = self.running = False
        self._ready.clear()
        return ended


def _ranks(ranks: tuple[int, ...]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
