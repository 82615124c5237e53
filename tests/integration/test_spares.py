"""A process that waits to be the next worker takes over at once, and never gets in the way."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from daemon.supervision.child_spec import SPARE_FLAG
from tests.unit.supervision.harness import Daemon, eventually, make_settings

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

pytestmark = pytest.mark.integration
READY = 4
WORKER, API = "obey_spare", "obey"


def spares(daemon: Daemon, program: str = WORKER) -> list[psutil.Process]:
    """Those that were started as one: the flag stays on the command line after they took over."""
    children = [(process, process.cmdline()) for process in daemon.children()]
    return [p for p, words in children if SPARE_FLAG in words and program in words]


def has_spares(daemon: Daemon, count: int) -> bool:
    """Whether so many processes live that were started as one."""
    return len(spares(daemon)) == count


async def test_a_spare_takes_over_with_an_identity_of_its_own(tmp_path: Path) -> None:
    """And the next one is made ready: the second death is as cheap as the first."""
    async with Daemon(tmp_path, make_settings(), worker="obey_spare") as daemon:
        first = await daemon.until_ready()
        last, boot_ids = first, {first.boot_id}
        for generation in (2, 3):
            # The one that took over last keeps its command line.
            await eventually(partial(has_spares, daemon, min(2, generation - 1)))
            [waiting] = [s for s in spares(daemon) if s.pid != last.worker_pid]
            os.kill(last.worker_pid, signal.SIGKILL)
            last = await daemon.until_ready(generation)
            boot_ids.add(last.boot_id)
            assert last.worker_pid == waiting.pid
        assert len(boot_ids) == 3
        text = f"worker 3 took over from its spare, pid {last.worker_pid}"
        assert text in await daemon.events()
        await daemon.client.restart(3, reason="an operator")
        await daemon.until_ready(4)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_spare_that_was_killed_is_not_missed(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Nobody would look after it; the next worker starts as it always did."""
    async with Daemon(tmp_path, make_settings(), worker="obey_spare") as daemon:
        first = await daemon.until_ready()
        await eventually(lambda: bool(spares(daemon)))
        [waiting] = spares(daemon)
        waiting.send_signal(number)
        await eventually(lambda: not spares(daemon))
        os.kill(first.worker_pid, signal.SIGKILL)
        second = await daemon.until_ready(2)
        assert second.restarts == 1
        assert any(f"started, pid {second.worker_pid}" in text for text in await daemon.events())


async def test_a_spare_that_can_not_start_keeps_nobody_from_it(tmp_path: Path) -> None:
    """At worst it is taken in its last moment, and its end is one more death."""
    async with Daemon(tmp_path, make_settings(), worker="die_spare") as daemon:
        first = await daemon.until_ready()
        os.kill(first.worker_pid, signal.SIGKILL)
        second = await daemon.until(lambda now: now.state == READY and now.generation > 1)
        assert second.restarts <= 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_spare_ends_with_its_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    """However that ends; the harness looks for orphans."""
    async with Daemon(tmp_path, make_settings(), worker="obey_spare") as daemon:
        await daemon.until_ready()
        await eventually(lambda: bool(spares(daemon)))
        daemon.process.send_signal(number)
        await daemon.exit_code()


async def test_a_setting_does_without(tmp_path: Path) -> None:
    """It costs memory, which a small machine may not have."""
    settings = make_settings(warm_spare=False)
    async with Daemon(tmp_path, settings, worker="obey_spare") as daemon:
        first = await daemon.until_ready()
        os.kill(first.worker_pid, signal.SIGKILL)
        await daemon.until_ready(2)
        assert not spares(daemon)


async def test_the_api_process_has_a_spare_as_well(tmp_path: Path) -> None:
    """Nobody is served while it imports everything anew."""
    async with Daemon(tmp_path, make_settings(), worker="obey_spare") as daemon:
        first = await daemon.until_ready()
        await eventually(lambda: len(spares(daemon, API)) == 1)
        [waiting] = spares(daemon, API)
        os.kill(first.api.pid, signal.SIGKILL)
        second = await daemon.until(lambda now: now.api.state == READY and now.api.restarts == 1)
        assert second.api.pid == waiting.pid
        assert second.worker_pid == first.worker_pid
        assert f"api 2 took over from its spare, pid {waiting.pid}" in await daemon.events()
