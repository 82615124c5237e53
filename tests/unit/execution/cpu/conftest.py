"""Kernels of these tests are compiled by them, whatever this machine has in its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.execution.cpu.machine import Machine, machine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package", autouse=True)
def _cold_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction] - by pytest
    """An empty cache folder for compiled code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        machine.cache_clear()
        yield
    machine.cache_clear()


@pytest.fixture(scope="package", params=["best", "avx2"])
def code(request: pytest.FixtureRequest) -> Machine:
    """What this processor can do, and the least that we write for."""
    return Machine(wide=request.param == "best")


@pytest.fixture(scope="package", params=["tiles", "vectors", "avx2"])
def every_way(request: pytest.FixtureRequest) -> Machine:
    """Each way of multiplying that this processor has."""
    tiles = request.param == "tiles"
    code = Machine(tiles=tiles, wide=request.param != "avx2")
    if tiles and not code.has_tiles:
        pytest.skip("this processor has no tile registers")
    return code
