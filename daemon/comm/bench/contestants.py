"""What is measured: the communicator, raw sockets and the MLX ring, with the same three actions."""

from __future__ import annotations

import socket
import time
from typing import Any, Protocol

import numpy as np

from daemon.comm import collectives
from daemon.comm.communicator import Communicator
from daemon.comm.settings import CommSettings

SMALL = bytes(4096)


class Contestant(Protocol):
    """One rank of a world of its own."""

    def ping(self, rank: int) -> None:
        """One round trip of 4 KB on rank 0, the answer to it on rank 1."""
        ...

    def stream(self, rank: int, payload: np.ndarray[Any, Any]) -> None:
        """All of ``payload`` one way and a word back."""
        ...

    def reduce(self, values: np.ndarray[Any, Any]) -> object:
        """The sum over ranks."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Ours:
    """The communicator."""

    def __init__(self, rank: int, ports: list[int], doubling_bytes: int | None = None) -> None:
        """``doubling_bytes``: crossover of reductions, if not the product's."""
        if doubling_bytes is not None:
            collectives.DOUBLING_BYTES = doubling_bytes
        addresses = tuple(("127.0.0.1", port) for port in ports)
        self.world = Communicator(CommSettings(rank, addresses, default_timeout_s=100.0))
        self.world.start()
        self.world.barrier()

    def ping(self, rank: int) -> None:
        """`send` and `recv`."""
        if rank == 0:
            self.world.send(1, SMALL)
            self.world.recv(1)
        else:
            self.world.send(0, self.world.recv(0))

    def stream(self, rank: int, payload: np.ndarray[Any, Any]) -> None:
        """One NumPy array, received as one."""
        if rank == 0:
            self.world.send(1, payload)
            self.world.recv(1)
        else:
            assert self.world.recv(0).nbytes == payload.nbytes  # noqa: S101 - a bench
            self.world.send(0, None)

    def reduce(self, values: np.ndarray[Any, Any]) -> object:
        """`all_reduce`."""
        return self.world.all_reduce(values)

    def close(self) -> None:
        """In order."""
        self.world.close()


class RawTcp:
    """Two sockets."""

    def __init__(self, rank: int, ports: list[int]) -> None:
        if rank == 0:
            with socket.create_server(("127.0.0.1", ports[0])) as server:
                self.socket, _ = server.accept()
        else:
            self.socket = _connect(ports[0])
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ping(self, rank: int) -> None:
        """Blocking calls."""
        if rank == 0:
            self.socket.sendall(SMALL)
            self._read(len(SMALL))
        else:
            self.socket.sendall(self._read(len(SMALL)))

    def stream(self, rank: int, payload: np.ndarray[Any, Any]) -> None:
        """Into one buffer."""
        if rank == 0:
            self.socket.sendall(payload.data)
            self._read(1)
        else:
            self._read(payload.nbytes)
            self.socket.sendall(b"x")

    def reduce(self, values: np.ndarray[Any, Any]) -> object:
        """Not measured."""
        raise NotImplementedError

    def close(self) -> None:
        """Both ends do."""
        self.socket.close()

    def _read(self, size: int) -> memoryview:
        data: Any = np.empty(size, np.uint8)
        view, place = memoryview(data), 0
        while place < size:
            place += self.socket.recv_into(view[place:])
        return view


class Ring:
    """`mx.distributed` over TCP."""

    def __init__(self, _rank: int, _ports: list[int]) -> None:
        import mlx.core as mx  # noqa: PLC0415 - only this contestant needs it

        self.mx: Any = mx
        self.group = mx.distributed.init(strict=True, backend="ring")

    def ping(self, rank: int) -> None:
        """`send` and `recv`."""
        mx, value = self.mx, self.mx.zeros(1024)
        for turn in (0, 1):
            if rank == turn:
                mx.eval(mx.distributed.send(value, 1 - rank, group=self.group))
            else:
                mx.eval(mx.distributed.recv_like(value, 1 - rank, group=self.group))

    def stream(self, rank: int, payload: np.ndarray[Any, Any]) -> None:
        """One array there, a word back."""
        mx = self.mx
        if rank == 0:
            mx.eval(mx.distributed.send(self._array(payload), 1, group=self.group))
            mx.eval(mx.distributed.recv_like(mx.zeros(1), 1, group=self.group))
        else:
            like = mx.zeros(payload.nbytes // 4)
            mx.eval(mx.distributed.recv_like(like, 0, group=self.group))
            mx.eval(mx.distributed.send(mx.zeros(1), 0, group=self.group))

    def reduce(self, values: np.ndarray[Any, Any]) -> object:
        """`all_sum`."""
        result = self.mx.distributed.all_sum(self._array(values), group=self.group)
        self.mx.eval(result)
        return result

    def close(self) -> None:
        """Nothing to end."""

    def _array(self, values: np.ndarray[Any, Any]) -> Any:
        if getattr(self, "_source", None) is not values:
            self._source = values
            self._made = self.mx.array(values.view(np.float32))
            self.mx.eval(self._made)
        return self._made


def _connect(port: int) -> socket.socket:
    limit = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.01)
