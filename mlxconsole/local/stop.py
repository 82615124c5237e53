"""Takes a cluster down: asks every rank to leave, then makes sure by its process.

Runs in an event loop of its own. Safe to repeat.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from daemon.client.control import ControlClient
from daemon.errors import ClusterError, StartFailed
from mlxconsole.cluster import Cluster
from mlxconsole.local import daemons, process_mark

if TYPE_CHECKING:
    from mlxconsole.cluster import Member
    from mlxconsole.local.process_mark import ProcessMark
    from mlxconsole.local.state_dir import StateDir

ASK_TIMEOUT_S = 2.0
LEAVE_MARGIN_S = 5.0
"""Beyond the grace that the ranks give to their own children."""


async def take_down(state: StateDir) -> int:
    """End the cluster in ``state``.

    Returns:
        How many ranks were running.

    Raises:
        StartFailed: a process could not be ended, or another command is at work on this state.
    """
    if not state.path.exists():
        return 0
    with state.lock():
        marks = {rank: mark for rank, mark in state.marks().items() if mark.find()}
        settings = state.settings()
        grace_s = settings.limits.shutdown_grace_s if settings else 3.0
        family = process_mark.with_descendants(marks.values())
        if settings and marks:
            members = {m.rank: m for m in Cluster.from_settings(settings).members}
            ranks = [rank for rank in marks if rank in members]
            answers = await asyncio.gather(*(_ask(members[r], marks[r], grace_s) for r in ranks))
            leaving = [marks[r] for r, yes in zip(ranks, answers, strict=True) if yes]
            process_mark.wait_gone(leaving, grace_s + LEAVE_MARGIN_S)
        left = daemons.end_all(state, grace_s) or [
            mark.pid for mark in process_mark.end(family, grace_s)
        ]
        if left:
            raise StartFailed(f"process {left[0]} does not end: is it yours? end it yourself")
    return len(marks)


async def take_down_remote(cluster: Cluster, timeout_s: float) -> int:
    """End a cluster by its control ports alone.

    Returns:
        How many ranks answered.

    Raises:
        StartFailed: a rank still answers after ``timeout_s``.
    """
    answered = await asyncio.gather(*(_ask(member, None, 0.0) for member in cluster.members))
    leaving = [m for m, yes in zip(cluster.members, answered, strict=True) if yes]
    deadline_s = time.monotonic() + timeout_s
    for member in leaving:
        while await _answers(member):
            if time.monotonic() > deadline_s:
                raise StartFailed(
                    f"rank {member.rank} on {member.host} still answers after {timeout_s:g} s: "
                    "look at it there"
                )
            await asyncio.sleep(0.1)
    return len(leaving)


async def _ask(member: Member, mark: ProcessMark | None, grace_s: float) -> bool:
    """Ask one rank to leave; whether it answered, and is the process in ``mark`` if given."""
    try:
        async with ControlClient(member.host, member.control_port) as client:
            if mark is not None:
                status = await client.get_status(timeout_s=ASK_TIMEOUT_S)
                if status.supervisor_pid != mark.pid:
                    return False
            await client.shutdown(grace_s, timeout_s=ASK_TIMEOUT_S)
    except ClusterError:
        return False
    return True


async def _answers(member: Member) -> bool:
    try:
        async with ControlClient(member.host, member.control_port) as client:
            await client.get_status(timeout_s=ASK_TIMEOUT_S)
    except ClusterError:
        return False
    return True
