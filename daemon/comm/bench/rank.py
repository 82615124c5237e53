"""One rank of one contestant, in its own process: does what stdin says, rank 0 answers.

An order is a line `ACTION BYTES COUNT`; the answer is a JSON list of seconds, one per repetition.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from daemon.comm import codec
from daemon.comm.bench.bare import Bare
from daemon.comm.bench.contestants import Contestant, Ours, RawTcp, Ring

if TYPE_CHECKING:
    from collections.abc import Callable

CONTESTANTS: dict[str, Callable[[int, list[int]], Contestant]] = {
    "ours": Ours,
    "bare gRPC": Bare,
    "raw TCP": RawTcp,
    "MLX ring": Ring,
    "doubling": partial(Ours, doubling_bytes=2**40),
    "shares": partial(Ours, doubling_bytes=0),
}


def timed(action: Callable[[], object], count: int) -> list[float]:
    """Seconds of each call."""
    trips: list[float] = []
    for _ in range(count):
        begin = time.perf_counter()
        action()
        trips.append(time.perf_counter() - begin)
    return trips


class Actions:
    """What can be asked of one rank."""

    def __init__(self, one: Contestant, rank: int) -> None:
        self._one = one
        self._rank = rank
        self._values: dict[int, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}

    def ping(self, _size: int, count: int) -> list[float]:
        """Round trips of 4 KB."""
        return timed(lambda: self._one.ping(self._rank), count)

    def stream(self, size: int, count: int) -> list[float]:
        """One way and a word back."""
        payload = self._ones(size).view(np.uint8)
        return timed(lambda: self._one.stream(self._rank, payload), count)

    def reduce(self, size: int, count: int) -> list[float]:
        """The sum over all ranks."""
        values = self._ones(size)
        return timed(lambda: self._one.reduce(values), count)

    def beside(self, size: int, _count: int) -> list[float]:
        """Round trips of 4 KB while ``size`` bytes travel on the same link."""
        assert isinstance(self._one, Ours)  # noqa: S101 - a bench
        world, trips = self._one.world, list[float]()
        if self._rank:
            while (message := world.recv(0)) is not None:
                world.send(0, message)
            world.recv(0, tag=1)
            return trips
        payload = np.zeros(size, np.uint8)
        thread = threading.Thread(target=lambda: world.send(1, payload, tag=1))
        thread.start()
        while thread.is_alive():
            trips += timed(lambda: self._one.ping(0), 1)
        world.send(1, None)
        return trips

    def decode(self, size: int, count: int) -> list[float]:
        """Bytes that have arrived into a bfloat16 array of MLX."""
        import mlx.core as mx  # noqa: PLC0415 - only this figure needs it

        data = codec.encode(mx.ones((1, size // 2), dtype=mx.bfloat16))
        return timed(lambda: mx.eval(codec.decode(data)), count)

    def _ones(self, size: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """The same array every time: memory that was touched before."""
        if size not in self._values:
            self._values = {size: np.ones(size // 4, np.float32)}
        return self._values[size]


def main() -> None:
    """Take part until stdin ends."""
    name, rank, ports = sys.argv[1], int(sys.argv[2]), [int(port) for port in sys.argv[3:]]
    one = CONTESTANTS[name](rank, ports)
    actions = Actions(one, rank)
    for line in sys.stdin:
        action, size, count = line.split()
        seconds = getattr(actions, action)(int(size), int(count))
        if rank == 0:
            sys.stdout.write(json.dumps(seconds) + "\n")
            sys.stdout.flush()
    one.close()


if __name__ == "__main__":
    main()
