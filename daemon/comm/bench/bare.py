"""The contestant without anything around it: pushed gRPC streams, hand-written exchanges.

The best public kind of stream from Python: no sessions, no codec, no checks.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from daemon.comm.bench.contestants import SMALL
from daemon.comm.grpc_options import SERVER, open_channel

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 512 * 1024


class Bare:
    """Every rank calls every other one and reads what it pushes."""

    def __init__(self, rank: int, ports: list[int]) -> None:
        self.rank, self.size = rank, len(ports)
        self.pushes: dict[int, Callable[[bytes], None]] = {}
        arrived = threading.Semaphore(0)

        def subscribe(request: bytes, _context: object, push: Callable[[bytes], None]) -> None:
            self.pushes[int(request)] = push
            arrived.release()

        behavior: Any = subscribe
        behavior.experimental_non_blocking = True
        handler = grpc.unary_stream_rpc_method_handler(behavior)
        generic = grpc.method_handlers_generic_handler("bench", {"Subscribe": handler})
        self.server = grpc.server(ThreadPoolExecutor(4), handlers=[generic], options=SERVER)
        self.server.add_insecure_port(f"127.0.0.1:{ports[rank]}")
        self.server.start()
        self.calls: dict[int, Any] = {}
        self.channels: list[grpc.Channel] = []
        for peer in range(self.size):
            if peer != rank:
                channel = open_channel(("127.0.0.1", ports[peer]), None)
                stream = channel.unary_stream("/bench/Subscribe", None, None)
                self.calls[peer] = stream(str(rank).encode(), wait_for_ready=True)
                self.channels.append(channel)
        for _ in self.calls:
            arrived.acquire()
        self.pool = ThreadPoolExecutor(self.size)

    def ping(self, rank: int) -> None:
        """The calling thread pushes and reads."""
        if rank == 0:
            self.pushes[1](SMALL)
            next(self.calls[1])
        else:
            self.pushes[0](next(self.calls[0]))

    def stream(self, rank: int, payload: np.ndarray[Any, Any]) -> None:
        """512 KB chunks, dropped by the receiver."""
        if rank == 0:
            self._push(1, payload)
            next(self.calls[1])
        else:
            left = payload.nbytes
            while left:
                left -= len(next(self.calls[0]))
            self.pushes[0](b"done")

    def reduce(self, values: np.ndarray[Any, Any]) -> object:
        """Small: recursive doubling. Large: every rank sums its share."""
        if values.nbytes > CHUNK:
            return self._reduce_shares(values)
        distance = 1
        while distance < self.size:
            peer = self.rank ^ distance
            self.pushes[peer](values.tobytes())
            values = values + np.frombuffer(next(self.calls[peer]), values.dtype)
            distance *= 2
        return values

    def close(self) -> None:
        """Let the peers read what was pushed, then stop."""
        time.sleep(0.5)
        self.server.stop(None)

    def _reduce_shares(self, values: np.ndarray[Any, Any]) -> object:
        shares = np.split(values.copy(), self.size)
        mine = shares[self.rank]
        peers = list(self.calls)
        sending = [self.pool.submit(self._push, peer, shares[peer]) for peer in peers]
        for peer in peers:
            self._pull(peer, mine, add=True)
        for each in sending:
            each.result()
        sending = [self.pool.submit(self._push, peer, mine) for peer in peers]
        for peer in peers:
            self._pull(peer, shares[peer], add=False)
        for each in sending:
            each.result()
        return shares

    def _push(self, peer: int, values: np.ndarray[Any, Any]) -> None:
        data: Any = values.view(np.uint8)
        for start in range(0, len(data), CHUNK):
            self.pushes[peer](data[start : start + CHUNK].tobytes())

    def _pull(self, peer: int, target: np.ndarray[Any, Any], *, add: bool) -> None:
        place = 0
        while place < target.size:
            part = np.frombuffer(next(self.calls[peer]), target.dtype)
            where = target[place : place + part.size]
            if add:
                np.add(where, part, out=where)
            else:
                where[:] = part
            place += part.size
