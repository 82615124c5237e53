"""A rank that stays away, with real processes: its layers move to the other, and back."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from daemon.settings import LimitsPart
from mlxconsole.chaos.requests import ask, bodies
from mlxconsole.chaos.victim import Victim

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration
BODY = bodies("demo")[-2] | {"max_tokens": 400}  # seeded, with log probabilities
SETTLE_S = 60.0
TOO_LITTLE_GIB = 0.015
"""For the whole demo model with the context that the planner wants; half of it fits."""


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


async def refusal(victim: Victim) -> httpx.Response:
    """The answer to a request that nobody can serve."""
    url = f"http://127.0.0.1:{victim.settings.api.port}/v1/completions"
    body: dict[str, Any] = {"model": "demo", "prompt": "Hello", "max_tokens": 4}
    async with httpx.AsyncClient(timeout=SETTLE_S, trust_env=False) as http:
        return await http.post(url, json=body)


async def test_without_room_for_its_layers_requests_are_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    """Those that run as well, at once; all is well when it is back, started by hand."""
    victim = Victim(tmp_path, 2, "demo", links=False, limits=LimitsPart(absence_timeout_s=1.0))
    parts = [dataclasses.replace(part, memory_gib=TOO_LITTLE_GIB) for part in victim.settings.ranks]
    victim.settings = dataclasses.replace(victim.settings, ranks=tuple(parts))
    async with victim:
        port = victim.settings.api.port
        undisturbed = await asyncio.to_thread(ask, port, BODY, lambda: None)
        assert not undisturbed.error
        begun = threading.Event()
        asking = asyncio.create_task(asyncio.to_thread(ask, port, BODY, begun.set))
        await asyncio.to_thread(begun.wait, SETTLE_S)
        await victim.kill_supervisor(1)
        assert "rank 1 is away, and the others can't take its layers" in (await asking).error
        response = await refusal(victim)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        message = response.json()["error"]["message"]
        assert "rank 1 is away, and the others can't take its layers" in message
        assert "are missing" in message
        victim.start_supervisor(1)
        await victim.wait_settled(SETTLE_S)
        assert (await refusal(victim)).status_code == 200
        assert await asyncio.to_thread(ask, port, BODY, lambda: None) == undisturbed
