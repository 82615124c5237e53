"""The clock of the wall jumps while a cluster serves: nothing waits, expires or is lost by it.

The jump is libfaketime's, in every process of the cluster, C libraries included. Skipped where that
library is not installed (Debian: libfaketime); `FAKETIME_LIBRARY` may name it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from mlxconsole.chaos.faults import Fault, inject
from mlxconsole.chaos.journal import Journal
from mlxconsole.chaos.requests import ask, bodies
from mlxconsole.chaos.victim import Victim

pytestmark = pytest.mark.integration
BODY = bodies("demo")[1]  # seeded
SETTLE_S = 60.0
HOUR_S = 3600.0
_INSTALLED = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
LIBRARY = os.environ.get("FAKETIME_LIBRARY") or next(map(str, _INSTALLED), "")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(not LIBRARY, reason="libfaketime is not installed")
async def test_jumps_of_the_clock_change_nothing(tmp_path: Path) -> None:
    """A machine whose clock is set by hand, or wakes from sleep: two hours back, one ahead."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environ = {
        "LD_PRELOAD": LIBRARY,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    async with Victim(tmp_path, 2, "demo", links=False, environ=environ) as victim:
        port = victim.settings.api.port
        undisturbed = await asyncio.to_thread(ask, port, BODY, lambda: None)
        assert not undisturbed.error
        before = [(await victim.status(rank)).worker_pid for rank in range(2)]
        for hours in (1, -1):
            begun = threading.Event()
            asking = asyncio.create_task(asyncio.to_thread(ask, port, BODY, begun.set))
            await asyncio.to_thread(begun.wait, SETTLE_S)
            offset.write_text(f"{hours * HOUR_S:+.0f}")
            await asyncio.sleep(3.0)  # longer than whatever might think that time is up
            assert (await asking) == undisturbed
            assert (await asyncio.to_thread(ask, port, BODY, lambda: None)) == undisturbed
        assert [(await victim.status(rank)).worker_pid for rank in range(2)] == before
        journal = Journal(victim)
        try:
            await inject(Fault.KILL_TWO, (0, 1), victim)
            assert (await asyncio.to_thread(ask, port, BODY, lambda: None)) == undisturbed
            await victim.wait_settled(SETTLE_S)
            told = journal.since(0.0)
        finally:
            await journal.close()
        died_s = [entry.time_s for entry in told if entry.kind == "exit"]
        assert died_s
        assert max(died_s) < time.time() - HOUR_S / 2, "the clock did not jump"
