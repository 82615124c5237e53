"""The contestants of `bench`: one rank of each, in its own process. Rank 0 prints its figures."""

from __future__ import annotations

import json
import socket
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import numpy as np

from daemon.comm.communicator import Communicator
from daemon.comm.grpc_options import SERVER, open_channel
from daemon.comm.settings import CommSettings

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = bytes(4096)
LARGE_BYTES = 128 * 2**20
CHUNK = 512 * 1024
ROUNDS = 1500
WARM_UP = 200
HEADROOM_BYTES = 2**30


class Contestant(Protocol):
    """What is measured; `None` results leave a figure out."""

    def ping(self, rank: int) -> None:
        """One round trip of 4 KB on rank 0, the answer to it on rank 1."""
        ...

    def stream(self, rank: int, payload: np.ndarray[Any, Any]) -> None:
        """All of ``payload`` one way and a word back."""
        ...

    def reduce(self, values: np.ndarray[Any, Any]) -> object:
        """The sum over ranks."""
        ...


class Ours:
    """The communicator."""

    def __init__(self, rank: int, ports: list[int]) -> None:
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


class Bare:
    """Pushed gRPC streams without anything around: the best public kind (FACTS: gRPC)."""

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
        self._swap(rank, self.mx.zeros(1024))

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

    def _array(self, values: np.ndarray[Any, Any]) -> Any:
        if getattr(self, "_source", None) is not values:
            self._source = values
            self._made = self.mx.array(values.view(np.float32))
            self.mx.eval(self._made)
        return self._made

    def _swap(self, rank: int, value: Any) -> None:
        mx = self.mx
        for turn in (0, 1):
            if rank == turn:
                mx.eval(mx.distributed.send(value, 1 - rank, group=self.group))
            else:
                mx.eval(mx.distributed.recv_like(value, 1 - rank, group=self.group))


def _connect(port: int) -> socket.socket:
    limit = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.01)


def timed(action: Callable[[], object], count: int, warm_up: int) -> list[float]:
    """Seconds of each call, sorted; the first ones left out."""
    trips: list[float] = []
    for number in range(warm_up + count):
        begin = time.perf_counter()
        action()
        if number >= warm_up:
            trips.append(time.perf_counter() - begin)
    return sorted(trips)


def figures(one: Contestant, rank: int, size: int) -> dict[str, float]:
    """Everything that the contestant can do."""
    result: dict[str, float] = {}
    if size == 2:
        trips = timed(lambda: one.ping(rank), ROUNDS, WARM_UP)
        result["4 KB there and back, p50 us"] = trips[ROUNDS // 2] * 1e6
        result["4 KB there and back, p99 us"] = trips[ROUNDS * 99 // 100] * 1e6
        payload = np.ones(LARGE_BYTES // 4, np.float32).view(np.uint8)
        times = timed(lambda: one.stream(rank, payload), 3, 1)
        result["128 MB one way, MB/s"] = LARGE_BYTES / 2**20 / times[1]
    if isinstance(one, RawTcp):
        return result
    few = np.ones(2048, np.float32)
    result[f"all_reduce 8 KB, {size} ranks, us"] = (
        timed(lambda: one.reduce(few), 400, 100)[200] * 1e6
    )
    many = np.ones(16 * 2**20, np.float32)
    result[f"all_reduce 64 MB, {size} ranks, ms"] = timed(lambda: one.reduce(many), 3, 1)[1] * 1e3
    if isinstance(one, Ours) and size == 2:
        result |= _beside_bulk(one.world, rank)
    return result


def _beside_bulk(world: Communicator, rank: int) -> dict[str, float]:
    """Round trips of 4 KB while 1 GB travels on the same link, and a hidden state's decoding."""
    trips: list[float] = []
    if rank == 0:
        payload = np.zeros(HEADROOM_BYTES, np.uint8)
        thread = threading.Thread(target=lambda: world.send(1, payload, tag=1))
        thread.start()
        while thread.is_alive():
            begin = time.perf_counter()
            world.send(1, SMALL)
            world.recv(1)
            trips.append(time.perf_counter() - begin)
        world.send(1, None)
        return {
            "4 KB beside 1 GB, p50 us": statistics.median(trips) * 1e6,
            "4 KB bfloat16 decoded to MLX, us": _decode_us(),
        }
    while (message := world.recv(0)) is not None:
        world.send(0, message)
    world.recv(0, tag=1)
    return {}


def _decode_us() -> float:
    import mlx.core as mx  # noqa: PLC0415 - only this figure needs it

    from daemon.comm import codec  # noqa: PLC0415

    data = codec.encode(mx.ones((1, 2048), dtype=mx.bfloat16))
    return timed(lambda: mx.eval(codec.decode(data)), 2000, 100)[1000] * 1e6


def main() -> None:
    """Take part as one rank."""
    name, rank, ports = sys.argv[1], int(sys.argv[2]), [int(port) for port in sys.argv[3:]]
    if name == "raw TCP" and len(ports) != 2:
        return
    kinds: dict[str, Callable[[int, list[int]], Contestant]] = {
        "ours": Ours,
        "bare gRPC": Bare,
        "raw TCP": RawTcp,
        "MLX ring": Ring,
    }
    one = kinds[name](rank, ports)
    result = figures(one, rank, len(ports))
    if rank == 0:
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    if isinstance(one, Ours):
        one.world.close()
    if isinstance(one, Bare):
        time.sleep(0.5)
        one.server.stop(None)


if __name__ == "__main__":
    main()
