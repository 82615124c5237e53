"""A TCP proxy that can stall, and break connections in the middle of what they carry.

Stands between two ranks. One event loop; `reset`, `stall` and `go_on` are called on it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


class Proxy:
    """Forwards what connects to its port to a target."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._transports: set[asyncio.WriteTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self) -> None:
        """Deliver nothing from now on; connections stay, and new ones are taken."""
        self._open.clear()

    def go_on(self) -> None:
        """Deliver again, what has waited first."""
        self._open.set()

    def reset(self) -> None:
        """Break every connection; what is under way is lost."""
        for transport in list(self._transports):
            transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        self._transports.add(writer.transport)
        try:
            await self._open.wait()
            their_reader, their_writer = await asyncio.open_connection(*self._target)
            self._transports.add(their_writer.transport)
            try:
                await self._forward(reader, writer, their_reader, their_writer)
            finally:
                self._transports.discard(their_writer.transport)
                their_writer.transport.abort()
        except OSError:
            pass  # nobody is there at the moment: so it looks to who connected
        finally:
            self._transports.discard(writer.transport)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        their_reader: asyncio.StreamReader,
        their_writer: asyncio.StreamWriter,
    ) -> None:
        """Until either side ends."""
        directions = [
            asyncio.create_task(self._pump(reader, their_writer)),
            asyncio.create_task(self._pump(their_reader, writer)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
