"""Everything that may happen to a cluster, and how to make it happen.

Knows processes and links; whether the cluster survives is for others to see. Event loop only.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from daemon.errors import ClusterError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from mlxconsole.chaos.victim import Victim

SHORT_OUTAGE_S = 1.0
LONG_OUTAGE_S = 5.0
AGAIN_TIMEOUT_S = 20.0
IN_A_ROW = 5
LOOK_S = 0.02

# What `sabotage/sitecustomize.py` makes of signals.
LOOP_STEP, HANG_STEP, FAIL_STEP = signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTOU


class Fault(StrEnum):
    """One kind of misfortune; the value is what reports call it."""

    KILL_FOLLOWER = "SIGKILL of a worker other than rank 0's"
    KILL_LEADER = "SIGKILL of rank 0's worker"
    KILL_TWO = "SIGKILL of two workers at once"
    KILL_LOADING = "SIGKILL of a worker, and of its successor as soon as it is there"
    KILL_OTHER = "SIGKILL of a worker, and of another while the first comes back"
    KILL_FIVE_TIMES = "SIGKILL of the same rank's worker five times in a row"
    STOP_WORKER = "SIGSTOP of a worker: alive but stuck"
    PAUSE_WORKER = "SIGSTOP of a worker, SIGCONT after 1 s"
    LOOP_STEP = "a step that computes for ever"
    HANG_STEP = "a step that waits for ever"
    KILL_API = "SIGKILL of the API process"
    KILL_SUPERVISOR = "SIGKILL of a supervisor, started again by hand"
    STALL_LINK = "a link that delivers nothing for 1 s"
    RESET_LINK = "connections of a link reset in the middle of frames"
    LOSE_LINK = "a link that loses everything for 5 s"
    RESTART = "restart by the operator"

    @property
    def needs_links(self) -> bool:
        """Whether the links must go through proxies."""
        return self in {Fault.STALL_LINK, Fault.RESET_LINK, Fault.LOSE_LINK}

    @property
    def keeps_epoch(self) -> bool:
        """Whether the cluster must come through without starting over."""
        return self in {Fault.PAUSE_WORKER, Fault.STALL_LINK, Fault.RESET_LINK, Fault.KILL_API}

    def ends_streams(self, rank: int) -> bool:
        """Whether HTTP connections can't survive it, because the process that holds them dies."""
        return self is Fault.KILL_API or (self is Fault.KILL_SUPERVISOR and rank == 0)


def choose_ranks(fault: Fault, world_size: int, chance: random.Random) -> tuple[int, ...]:
    """Which ranks it hits: two for links and pairs, else one."""
    if fault in {Fault.KILL_LEADER, Fault.KILL_API}:
        return (0,)
    if fault is Fault.KILL_FOLLOWER:
        return (chance.randrange(1, world_size),)
    if fault.needs_links or fault in {Fault.KILL_TWO, Fault.KILL_OTHER}:
        first, second = chance.sample(range(world_size), 2)
        return (first, second)
    return (chance.randrange(world_size),)


async def inject(fault: Fault, ranks: tuple[int, ...], victim: Victim) -> None:
    """Make it happen; returns when the last blow has fallen, not when all is well again."""
    await _BLOWS[fault](victim, ranks)


async def _kill(victim: Victim, ranks: tuple[int, ...]) -> None:
    await asyncio.gather(*(strike(victim, rank, signal.SIGKILL) for rank in ranks))


async def _kill_loading(victim: Victim, ranks: tuple[int, ...]) -> None:
    await _kill_again(victim, ranks[0], times=2)


async def _kill_five_times(victim: Victim, ranks: tuple[int, ...]) -> None:
    await _kill_again(victim, ranks[0], times=IN_A_ROW)


async def _kill_other(victim: Victim, ranks: tuple[int, ...]) -> None:
    dead = await strike(victim, ranks[0], signal.SIGKILL)
    await _successor(victim, ranks[0], dead)
    await strike(victim, ranks[1], signal.SIGKILL)


async def _stop(victim: Victim, ranks: tuple[int, ...]) -> None:
    await strike(victim, ranks[0], signal.SIGSTOP)


async def _pause(victim: Victim, ranks: tuple[int, ...]) -> None:
    pid = await strike(victim, ranks[0], signal.SIGSTOP)
    await asyncio.sleep(SHORT_OUTAGE_S)
    _send(pid, signal.SIGCONT)


async def _loop_step(victim: Victim, ranks: tuple[int, ...]) -> None:
    await strike(victim, ranks[0], LOOP_STEP)


async def _hang_step(victim: Victim, ranks: tuple[int, ...]) -> None:
    await strike(victim, ranks[0], HANG_STEP)


async def _kill_api(victim: Victim, ranks: tuple[int, ...]) -> None:
    del ranks
    _send((await victim.status(0)).api.pid, signal.SIGKILL)


async def _kill_supervisor(victim: Victim, ranks: tuple[int, ...]) -> None:
    await victim.kill_supervisor(ranks[0])
    await asyncio.sleep(SHORT_OUTAGE_S)
    victim.start_supervisor(ranks[0])


async def _reset(victim: Victim, ranks: tuple[int, ...]) -> None:
    for proxy in victim.links(*ranks):
        proxy.reset()


async def _stall(victim: Victim, ranks: tuple[int, ...]) -> None:
    proxies = victim.links(*ranks)
    for proxy in proxies:
        proxy.stall()
    await asyncio.sleep(SHORT_OUTAGE_S)
    for proxy in proxies:
        proxy.go_on()


async def _lose(victim: Victim, ranks: tuple[int, ...]) -> None:
    proxies = victim.links(*ranks)
    for proxy in proxies:
        proxy.stall()
    await asyncio.sleep(LONG_OUTAGE_S)
    for proxy in proxies:
        proxy.reset()
        proxy.go_on()


async def _restart(victim: Victim, ranks: tuple[int, ...]) -> None:
    await victim.restart(ranks[0])


_BLOWS: dict[Fault, Callable[[Victim, tuple[int, ...]], Awaitable[None]]] = {
    Fault.KILL_FOLLOWER: _kill,
    Fault.KILL_LEADER: _kill,
    Fault.KILL_TWO: _kill,
    Fault.KILL_LOADING: _kill_loading,
    Fault.KILL_OTHER: _kill_other,
    Fault.KILL_FIVE_TIMES: _kill_five_times,
    Fault.STOP_WORKER: _stop,
    Fault.PAUSE_WORKER: _pause,
    Fault.LOOP_STEP: _loop_step,
    Fault.HANG_STEP: _hang_step,
    Fault.KILL_API: _kill_api,
    Fault.KILL_SUPERVISOR: _kill_supervisor,
    Fault.STALL_LINK: _stall,
    Fault.RESET_LINK: _reset,
    Fault.LOSE_LINK: _lose,
    Fault.RESTART: _restart,
}


async def _kill_again(victim: Victim, rank: int, times: int) -> None:
    dead = await strike(victim, rank, signal.SIGKILL)
    for _ in range(times - 1):
        await _successor(victim, rank, dead)
        dead = await strike(victim, rank, signal.SIGKILL)


async def _successor(victim: Victim, rank: int, dead: int) -> None:
    async with asyncio.timeout(AGAIN_TIMEOUT_S):
        while True:
            if (await victim.status(rank)).worker_pid not in {0, dead}:
                return
            await asyncio.sleep(LOOK_S)


async def strike(victim: Victim, rank: int, number: signal.Signals) -> int:
    """Signal a rank's worker, once there is one; its process id."""
    async with asyncio.timeout(AGAIN_TIMEOUT_S):
        while True:
            with suppress(ClusterError):
                pid = (await victim.status(rank)).worker_pid
                if pid:
                    _send(pid, number)
                    return pid
            await asyncio.sleep(LOOK_S)


def _send(pid: int, number: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
