"""The proxy between two ranks: it carries everything, until it is told not to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mlxconsole.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that echoes."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    running = Proxy("127.0.0.1", server.sockets[0].getsockname()[1])
    await running.start()
    yield running
    await running.close()
    server.close()


async def test_bytes_pass_in_both_directions(proxy: Proxy) -> None:
    """More than any buffer holds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    data = bytes(range(256)) * 4096
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), 10) == data
    writer.close()


async def test_a_stalled_link_keeps_what_it_carries(proxy: Proxy) -> None:
    """An outage that TCP survives."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    proxy.stall()
    writer.write(b"late")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(4), 0.1)
    proxy.go_on()
    assert await asyncio.wait_for(reader.readexactly(4), 10) == b"late"
    writer.close()


async def test_a_reset_breaks_connections_and_takes_new_ones(proxy: Proxy) -> None:
    """What was under way is lost."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one")
    await asyncio.wait_for(reader.readexactly(3), 10)
    proxy.reset()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), 10)
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"two")
    assert await asyncio.wait_for(reader.readexactly(3), 10) == b"two"
    writer.close()


async def test_a_target_that_is_gone_ends_the_connection() -> None:
    """As if nobody listened."""
    proxy = Proxy("127.0.0.1", 1)
    await proxy.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), 10)
    writer.close()
    await proxy.close()
