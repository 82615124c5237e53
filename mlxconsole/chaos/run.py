"""A chaos run: start a cluster, take the undisturbed answers, break things under load, judge.

Event loop; the load runs on threads.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import ClusterError, StartFailed
from mlxconsole.chaos.faults import Fault, choose_ranks, inject
from mlxconsole.chaos.journal import Journal
from mlxconsole.chaos.load import Load, Request, describe
from mlxconsole.chaos.report import Incident, Run
from mlxconsole.chaos.requests import bodies
from mlxconsole.chaos.victim import Victim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SETTLE_TIMEOUT_S = 60.0
FLOW_TIMEOUT_S = 30.0
_TELLTALES = {"exit", "stuck", "epoch_ended", "restart"}
_LOOK_S = 0.02


@dataclass(frozen=True)
class Plan:
    """What to do."""

    command: str
    seconds: float
    seed: int
    ranks: int
    model: str
    streams: int
    faults: tuple[Fault, ...]
    calm_s: float = 0.0
    """Between the end of one fault, for every stream, and the next."""


@dataclass
class _Window:
    """When an incident began and when all was well again, in monotonic seconds."""

    incident: Incident
    began_s: float
    ended_s: float = math.inf


class Chaos:
    """One run."""

    def __init__(self, plan: Plan, folder: Path, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._tell = tell
        self._windows: list[_Window] = []

    async def run(self) -> Run:
        """Everything.

        Raises:
            ClusterError: the cluster did not start, or undisturbed answers fail.
        """
        plan = self._plan
        links = any(fault.needs_links for fault in plan.faults)
        self._tell(f"starting {plan.ranks} ranks of {plan.model}")
        async with Victim(self._folder, plan.ranks, plan.model, links=links) as victim:
            load = Load(victim.settings.api.port, plan.model, plan.streams)
            journal = Journal(victim)
            try:
                await asyncio.to_thread(load.take_references)
                load.start()
                began_s = time.monotonic()
                await self._break_things(victim, load, journal, began_s)
                requests = await asyncio.to_thread(load.finish)
            except ValueError as error:
                raise StartFailed(str(error)) from error
            finally:
                await journal.close()
        return self._judge(requests, load, time.monotonic() - began_s)

    async def _break_things(
        self, victim: Victim, load: Load, journal: Journal, began_s: float
    ) -> None:
        chance = random.Random(self._plan.seed)  # noqa: S311 - to be repeated, not to be secret
        for fault in _shuffled(self._plan.faults, chance):
            if time.monotonic() - began_s > self._plan.seconds:
                return
            await _until_flowing(load)
            await asyncio.sleep(
                self._plan.calm_s + chance.uniform(0.0, 0.5)
            )  # at any moment of a step or an answer
            ranks = choose_ranks(fault, self._plan.ranks, chance)
            incident = Incident(fault, ranks, time.monotonic() - began_s)
            window = _Window(incident, time.monotonic())
            self._windows.append(window)
            await self._break(incident, victim, journal)
            window.ended_s = time.monotonic()
            took_s = window.ended_s - window.began_s
            self._tell(
                f"{incident.at_s:6.1f} s  {fault.value}, rank {', '.join(map(str, ranks))}: "
                f"settled in {took_s:.2f} s {incident.complaint}"
            )

    async def _break(self, incident: Incident, victim: Victim, journal: Journal) -> None:
        at_s = time.time()
        try:
            await inject(incident.fault, incident.ranks, victim)
            if incident.fault is Fault.KILL_API or not incident.fault.keeps_epoch:
                await _until_told(journal, at_s)
            await victim.wait_settled(SETTLE_TIMEOUT_S)
        except (ClusterError, TimeoutError) as error:
            incident.complaint = f"{error or 'timed out'}"
            await victim.wait_settled(SETTLE_TIMEOUT_S)
        await asyncio.sleep(0.5)  # events come four times a second
        told = journal.since(at_s)
        signs = [entry.time_s - at_s for entry in told if entry.kind in _TELLTALES]
        back = [e.time_s - at_s for e in told if e.kind == "epoch"]
        if incident.fault is Fault.KILL_API:
            back = [e.time_s - at_s for e in told if e.kind == "recovered"]
        elif incident.fault.keeps_epoch and back:
            reasons = [entry.text for entry in told if entry.kind == "epoch_ended"]
            incident.complaint = f"a new epoch began: {reasons}"
        incident.detected_s = min(signs, default=math.nan)
        incident.recovered_s = max(back, default=math.nan)

    def _judge(self, requests: Sequence[Request], load: Load, seconds: float) -> Run:
        plan = self._plan
        asked = bodies(plan.model)
        incidents = [window.incident for window in self._windows]
        run = Run(plan.command, seconds, plan.ranks, plan.model, plan.streams, incidents=incidents)
        for request in requests:
            if request.verdict == "same":
                run.same += 1
            elif request.verdict == "failed" and self._was_cut(request):
                run.cut += bool(request.events_s)
                run.refused += not request.events_s
            else:
                text = describe(request, asked[request.body], load.references[request.body])
                run.complaints.append(text)
        for window in self._windows:
            _add_pauses(window, requests)
        return run

    def _was_cut(self, request: Request) -> bool:
        return any(
            window.incident.fault.ends_streams(window.incident.ranks[0])
            and request.began_s < window.ended_s
            and request.ended_s > window.began_s
            for window in self._windows
        )


def _add_pauses(window: _Window, requests: Sequence[Request]) -> None:
    """Note what the streams that were under way saw, those aside that could not survive."""
    under_way = [r for r in requests if r.began_s < window.began_s < r.ended_s]
    window.incident.streams = len(under_way)
    window.incident.pauses_s = [
        r.longest_pause_s(window.began_s, window.ended_s) for r in under_way if not r.answer.error
    ]


def _shuffled(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    """Every fault once, in any order; then every one again, and so on."""
    while True:
        yield from chance.sample(faults, len(faults))


async def _until_flowing(load: Load) -> None:
    """Wait until the last fault is over for every stream, so that each is measured alone."""
    settled_s = time.monotonic()
    while time.monotonic() < settled_s + FLOW_TIMEOUT_S:
        if load.flowing_since(settled_s):
            return
        await asyncio.sleep(_LOOK_S)


async def _until_told(journal: Journal, at_s: float) -> None:
    """Wait until somebody has noticed: before that, all looks well."""
    deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
    while not any(entry.kind in _TELLTALES for entry in journal.since(at_s)):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"nobody noticed within {SETTLE_TIMEOUT_S:g} s")
        await asyncio.sleep(_LOOK_S)
