"""What a rank of a test world does with its links: errors, time-outs, sizes, loss.

Runs in the rank's process, which imports no pytest.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from daemon.errors import (
    CollectiveMismatch,
    CommError,
    InvalidRank,
    MessageTooLarge,
    PeerLost,
    RecvTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.comm.communicator import Communicator


def _refused(kind: type[CommError], call: Callable[[], object]) -> CommError:
    """The error of a call that must fail (pytest itself is too slow to import here)."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def mismatch(world: Communicator, what: str) -> None:
    """Rank 0 does something else than the others: every rank is told, nobody hangs."""
    odd = world.rank == 0
    begin = time.monotonic()
    calls: dict[str, Callable[[], object]] = {
        "shape": lambda: world.all_reduce(np.zeros(3 if odd else 4), timeout_s=20),
        "dtype": lambda: world.all_reduce(
            np.zeros(3, np.float32 if odd else np.float64), timeout_s=20
        ),
        "reduction": lambda: world.all_reduce(np.zeros(3), "max" if odd else "sum", timeout_s=20),
        "operation": lambda: (
            world.barrier(timeout_s=20) if odd else world.all_reduce(1, timeout_s=20)
        ),
    }
    error = _refused(CollectiveMismatch, calls[what])
    assert "rank 0" in str(error)
    assert time.monotonic() - begin < 5
    world.barrier()  # the next collective is well


def invalid_ranks(world: Communicator) -> None:
    """A rank outside the world and oneself are refused with a name, and nothing breaks."""
    for wrong in (world.world_size, -1, world.rank, 10**6):
        for call in (
            lambda wrong=wrong: world.send(wrong, 1),
            lambda wrong=wrong: world.recv(wrong, timeout_s=1),
            lambda wrong=wrong: world.post(wrong, 1, b""),
        ):
            assert str(wrong) in str(_refused(InvalidRank, call))
    _refused(InvalidRank, lambda: world.broadcast(1, root=world.world_size))
    world.barrier()


def timeouts(world: Communicator) -> list[float]:
    """How long a receive of 0.3 s took, by kind of waiting."""
    took: list[float] = []
    for source in ((world.rank + 1) % world.world_size, None):
        begin = time.monotonic()
        error = _refused(RecvTimeout, lambda at=source: world.recv(at, tag=99, timeout_s=0.3))
        assert error.tag == 99
        assert error.elapsed_s is not None
        took.append(time.monotonic() - begin)
    world.barrier()
    return took


def large_message(world: Communicator, megabytes: int, kind: str) -> dict[str, float]:
    """Rank 0 sends, rank 1 checks; extra memory at the peak, in MB."""
    count = megabytes * 1024 * 1024 // 4
    if world.rank > 1:
        world.barrier(timeout_s=100)
        return {}
    value = None
    if world.rank == 0:
        value = np.arange(count, dtype=np.int32)
        if kind == "mlx":
            value = mx.array(value)
            mx.eval(value)
            mx.clear_cache()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    now = _resident_mb()
    begin = time.monotonic()
    if world.rank == 0:
        world.send(1, value, timeout_s=100)
    else:
        got = world.recv(0, timeout_s=100)
        elapsed = time.monotonic() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert got.shape == (count,)
        for index in (0, 1, count // 3, count - 1):
            assert int(got[index]) == index
        world.barrier(timeout_s=100)
        grown = peak - now if peak > before else 0.0
        return {"extra_mb": grown - megabytes, "elapsed_s": elapsed}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    elapsed = time.monotonic() - begin
    world.barrier(timeout_s=100)
    return {"extra_mb": peak - now if peak > before else 0.0, "elapsed_s": elapsed}


def _resident_mb() -> float:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - Linux only, as the test says
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def small_beside_large(world: Communicator, megabytes: int) -> float:
    """Median round trip of 4 KB in ms while a large message is under way."""
    if world.rank == 0:
        done = threading.Event()

        def transfer() -> None:
            world.send(1, np.zeros(megabytes * 2**20, np.uint8), tag=8, timeout_s=100)
            done.set()

        thread = threading.Thread(target=transfer)
        thread.start()
        trips: list[float] = []
        while not done.is_set():
            begin = time.perf_counter()
            world.send(1, bytes(4096), tag=9)
            world.recv(1, tag=9)
            trips.append(time.perf_counter() - begin)
        thread.join()
        world.send(1, None, tag=9)
        world.barrier()
        return sorted(trips)[len(trips) // 2] * 1e3
    if world.rank == 1:
        while (message := world.recv(0, tag=9, timeout_s=100)) is not None:
            world.send(0, message, tag=9)
        assert world.recv(0, tag=8, timeout_s=100).nbytes == megabytes * 2**20
    world.barrier(timeout_s=100)
    return 0.0


def ping_pong(world: Communicator, count: int, size: int) -> list[float]:
    """Round trips between ranks 0 and 1, in seconds."""
    payload, trips = bytes(size), []
    for _ in range(count):
        if world.rank == 0:
            begin = time.perf_counter()
            world.send(1, payload)
            world.recv(1)
            trips.append(time.perf_counter() - begin)
        elif world.rank == 1:
            world.send(0, world.recv(0))
    return trips


def exchange_until(world: Communicator, count: int, size: int) -> float:
    """Unix time at which so many round trips were over."""
    ping_pong(world, count, size)
    return time.time()


def receive_until_lost(world: Communicator, peer: int, timeout_s: float) -> dict[str, Any]:
    """Wait for a peer that is about to vanish."""
    begin = time.time()
    try:
        world.recv(peer, tag=77, timeout_s=timeout_s)
    except PeerLost as error:
        return {"reason": str(error), "at": time.time(), "elapsed_s": time.time() - begin}
    except CommError as error:
        return {"reason": repr(error), "at": 0.0, "elapsed_s": time.time() - begin}
    raise AssertionError("a message arrived")


def wait_until_up(world: Communicator, peer: int, timeout_s: float) -> None:
    """Wait for a peer to come (back)."""
    limit = time.monotonic() + timeout_s
    while world.link_states()[peer][0] != "up":
        assert time.monotonic() < limit, world.link_states()
        time.sleep(0.005)


def over_the_limit(world: Communicator) -> None:
    """Too much for this rank's own limit."""
    peer = (world.rank + 1) % world.world_size
    error = _refused(MessageTooLarge, lambda: world.send(peer, bytes(1_000_001)))
    assert "1000000" in str(error)


def until_interrupted(world: Communicator, peer: int, timeout_s: float) -> float:
    """Unix time at which the link to a peer was known to be interrupted (or lost)."""
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
        if world.link_states()[peer][0] != "up":
            return time.time()
        time.sleep(0.005)
    raise AssertionError("the link stayed up")


def hold_gil(_world: Communicator, seconds: float) -> None:
    """Stop every Python thread of this process, though not gRPC's own."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def link_counters(world: Communicator) -> dict[str, int]:
    """Bytes that left and came on this rank's links."""
    return world.counters()


def thread_names(_world: Communicator) -> list[str]:
    """Of this process."""
    return [thread.name for thread in threading.enumerate()]


def loaded_modules(_world: Communicator) -> list[str]:
    """Names of all imported modules."""
    return sorted(sys.modules)


CHECKS: tuple[Callable[..., Any], ...] = (
    mismatch,
    invalid_ranks,
    timeouts,
    large_message,
    small_beside_large,
    ping_pong,
    exchange_until,
    receive_until_lost,
    wait_until_up,
    over_the_limit,
    until_interrupted,
    hold_gil,
    link_counters,
    thread_names,
    loaded_modules,
)
