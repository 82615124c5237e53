"""The asyncio twin of `Communicator`: the same calls as coroutines, on threads of its own.

Cancelling a coroutine does not end the call beneath it; its time-out does.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.comm.communicator import Communicator
    from daemon.comm.reductions import Operation

MAX_CALLS = 16
"""Calls under way at once; further ones wait for one of them to end."""


class AsyncCommunicator:
    """Coroutines over a started communicator, which stays its owner's to close."""

    def __init__(self, communicator: Communicator) -> None:
        self.communicator = communicator
        self.rank = communicator.rank
        self.world_size = communicator.world_size
        self._threads = ThreadPoolExecutor(MAX_CALLS, "comm-async")

    def close(self) -> None:
        """End the threads, after the calls under way."""
        self._threads.shutdown()

    async def send(self, dst: int, value: Any, tag: int = 0, **options: Any) -> None:
        """See `Communicator.send`."""
        await self._call(self.communicator.send, dst, value, tag, **options)

    async def recv(self, source: int | None = None, tag: int = 0, **options: Any) -> Any:
        """See `Communicator.recv`."""
        return await self._call(self.communicator.recv, source, tag, **options)

    send_object = send
    recv_object = recv

    async def barrier(self, **options: Any) -> None:
        """See `Communicator.barrier`."""
        await self._call(self.communicator.barrier, **options)

    async def broadcast(self, value: Any = None, root: int = 0, **options: Any) -> Any:
        """See `Communicator.broadcast`."""
        return await self._call(self.communicator.broadcast, value, root, **options)

    async def all_gather(self, value: Any, **options: Any) -> list[Any]:
        """See `Communicator.all_gather`."""
        return await self._call(self.communicator.all_gather, value, **options)

    async def gather(self, value: Any, root: int = 0, **options: Any) -> list[Any] | None:
        """See `Communicator.gather`."""
        return await self._call(self.communicator.gather, value, root, **options)

    async def scatter(
        self, values: Sequence[Any] | None = None, root: int = 0, **options: Any
    ) -> Any:
        """See `Communicator.scatter`."""
        return await self._call(self.communicator.scatter, values, root, **options)

    async def all_reduce(self, value: Any, operation: Operation = "sum", **options: Any) -> Any:
        """See `Communicator.all_reduce`."""
        return await self._call(self.communicator.all_reduce, value, operation, **options)

    async def reduce_scatter(self, value: Any, operation: Operation = "sum", **options: Any) -> Any:
        """See `Communicator.reduce_scatter`."""
        return await self._call(self.communicator.reduce_scatter, value, operation, **options)

    async def _call(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(call, *args, **options))
