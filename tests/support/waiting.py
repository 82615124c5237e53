"""Waiting for a condition, with a limit: what tests use in place of sleeps."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 10.0
_STEP_S = 0.005


async def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Return as soon as ``condition`` holds; `TimeoutError` if it does not in time."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"still not so after {limit_s} s")
        await asyncio.sleep(_STEP_S)


def wait_for(condition: Callable[[], bool], limit_s: float = 3 * LIMIT_S) -> None:
    """The same without a loop, for other processes."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"still not so after {limit_s} s")
        time.sleep(_STEP_S)
