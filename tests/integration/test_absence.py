"""A rank that stays away, with real processes: its layers move to the other, and back."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from daemon.settings import LimitsPart
from mlxconsole.chaos.requests import ask, bodies
from mlxconsole.chaos.victim import Victim

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
BODY = bodies("demo")[-2] | {"max_tokens": 400}  # seeded, with log probabilities
SETTLE_S = 60.0


async def layers(victim: Victim) -> tuple[int, int]:
    """Of rank 0."""
    status = await victim.status(0)
    return status.layer_lo, status.layer_hi


async def test_an_answer_lives_through_the_absence_of_a_rank(tmp_path: Path) -> None:
    """Its machine is switched off in the middle of an answer, and on again before its end."""
    limits = LimitsPart(absence_timeout_s=1.0)
    async with Victim(tmp_path, 2, "demo", links=False, limits=limits) as victim:
        port = victim.settings.api.port
        undisturbed = await asyncio.to_thread(ask, port, BODY, lambda: None)
        assert not undisturbed.error
        shared = await layers(victim)
        begun = threading.Event()
        asking = asyncio.create_task(asyncio.to_thread(ask, port, BODY, begun.set))
        await asyncio.to_thread(begun.wait, SETTLE_S)
        await victim.kill_supervisor(1)
        async with asyncio.timeout(SETTLE_S):
            while await layers(victim) != (0, shared[1] * 2):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        victim.start_supervisor(1)
        answer = await asking
        assert answer.content == undisturbed.content
        assert not answer.error
        await victim.wait_settled(SETTLE_S)
        assert await layers(victim) == shared
        again = await asyncio.to_thread(ask, port, BODY, lambda: None)
        assert again == undisturbed
