"""A proxy in the environment must not stand between the ranks of a cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.client.engine import EngineClient
from tests.support.engine_server import EngineServer
from tests.support.ports import free_ports

if TYPE_CHECKING:
    import pytest


async def test_engine_client_takes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Company laptops have `http_proxy` set; loopback through it reaches nobody."""
    [nobody] = free_ports(1)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody}")
    monkeypatch.setenv("no_proxy", "")
    server = EngineServer()
    client = EngineClient("127.0.0.1", server.port)
    assert (await client.describe()).ready
    await client.close()
    await asyncio.to_thread(server.stop)
