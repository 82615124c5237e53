"""Worlds of sixteen processes, the most that is promised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


def test_sixteen_processes(make_world: Callable[..., Any]) -> None:
    """Every collective, every kind of value, 240 streams; and all leave in order."""
    world = make_world(16, default_timeout_s=100.0)
    for check in ("objects", "broadcasts", "reductions", "sharp_integers", "shares"):
        world.run(check)
    times = world.run("barrier", delay_s=0.2)
    assert min(left for _, left in times) >= max(entered for entered, _ in times)
    for close_s, threads in world.end():
        assert close_s < 20.0  # all sixteen at once on few cores
        assert threads == []
