"""One rank of a test world, in a process of its own: runs the checks that the test names.

Reads one JSON line per check from stdin and answers with one line; the end of stdin ends it.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import resource
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from daemon.comm import codec
from daemon.comm.communicator import Communicator
from daemon.comm.settings import CommSettings
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

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
REALS = ("float16", "float32", "float64")
MLX_REALS = ("bfloat16", "float16", "float32")


@codec.register
@dataclass(frozen=True)
class Note:
    """A registered class."""

    text: str
    numbers: tuple[int, ...]


def objects(world: Communicator) -> None:
    """Every rank passes an object on to the next."""
    value = {"list": [1, (2, 3)], "set": {4}, "note": Note("x", (1, 2)), "none": None, 5: b"b"}
    rank, size = world.rank, world.world_size
    world.send_object((rank + 1) % size, [rank, value], tag=3)
    assert world.recv_object((rank - 1) % size, tag=3) == [(rank - 1) % size, value]


def numpy_arrays(world: Communicator) -> None:
    """Any dtype and layout, from every rank to the next."""
    rank, size = world.rank, world.world_size
    base = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    arrays = [base.astype(kind) for kind in (*INTEGERS, *REALS, "bool", "complex64", "<M8[s]")]
    arrays += [base.T, base[:, ::2], np.array(7), np.zeros((0, 3)), base[::-1]]
    for array in arrays:
        world.send((rank + 1) % size, array)
        got = world.recv((rank - 1) % size)
        assert got.dtype == array.dtype
        assert got.shape == array.shape
        assert np.array_equal(got, array)


def mlx_arrays(world: Communicator) -> None:
    """MLX arrays of every dtype arrive as MLX arrays on the default device."""
    rank, size = world.rank, world.world_size
    base = mx.arange(12).reshape(3, 4)
    names = [*INTEGERS, *MLX_REALS, "bool_", "complex64"]
    arrays = [base.astype(getattr(mx, name)) for name in names]
    arrays += [base.T, base[:, ::2], mx.array(3.5), mx.zeros((0, 2), dtype=mx.bfloat16)]
    for array in arrays:
        world.send((rank + 1) % size, array)
        got = world.recv((rank - 1) % size)
        assert isinstance(got, mx.array)
        assert got.dtype == array.dtype
        assert got.shape == array.shape
        assert mx.array_equal(got, array).item()
        assert (got + got).shape == array.shape  # usable on this thread's default device


def broadcasts(world: Communicator) -> None:
    """From every root, small and large, arrays and objects."""
    for root in range(world.world_size):
        value = np.full(100, root) if world.rank == root else None
        assert np.array_equal(world.broadcast(value, root), np.full(100, root))
        large = mx.full((300_000,), root + 0.5) if world.rank == root else None
        got = world.broadcast(large, root)
        assert isinstance(got, mx.array)
        assert mx.all(got == root + 0.5).item()
        assert world.broadcast({"root": root} if world.rank == root else None, root) == {
            "root": root
        }


def _refused(kind: type[CommError], call: Callable[[], object]) -> CommError:
    """The error of a call that must fail (pytest itself is too slow to import here)."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def _expected(parts: list[Any], operation: str) -> Any:
    stacked = np.stack([np.asarray(part, np.float64) for part in parts])
    return {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min}[operation](stacked, 0)


def reductions(world: Communicator) -> None:
    """Sum, mean, max and min of every numeric dtype, small and over the crossover."""
    size = world.world_size
    for operation in ("sum", "mean", "max", "min"):
        for kind in (*INTEGERS, *REALS):
            parts = [((np.arange(10) + rank) % 7).astype(kind) for rank in range(size)]
            got = world.all_reduce(parts[world.rank], operation)
            assert np.allclose(np.asarray(got, np.float64), _expected(parts, operation), 1e-3)
            if operation != "mean":
                assert got.dtype == parts[0].dtype, (kind, operation)
        for kind in (*MLX_REALS, "int32", "uint8"):
            parts = [((np.arange(12).reshape(3, 4) + rank) % 7) for rank in range(size)]
            got = world.all_reduce(mx.array(parts[world.rank]).astype(getattr(mx, kind)), operation)
            assert got.shape == (3, 4)
            want = _expected(parts, operation)
            assert np.allclose(np.array(got.astype(mx.float32)), want, rtol=1e-2), (kind, got)
    large = [np.random.default_rng(rank).standard_normal(700_001) for rank in range(size)]
    got = world.all_reduce(large[world.rank].astype(np.float32))
    assert np.allclose(got, _expected(large, "sum"), atol=1e-4)
    digests = world.all_gather(hashlib.sha256(got.tobytes()).hexdigest())
    assert len(set(digests)) == 1, "a reduction must have the same bits on every rank"
    assert world.all_reduce(world.rank) == sum(range(size))
    assert world.all_reduce(float(world.rank), "max") == size - 1


def sharp_integers(world: Communicator) -> None:
    """No silent overflow: a sum that does not fit is an error on every rank."""
    size = world.world_size
    big = np.array([2**62 // size, -(2**62) // size, 2**40 + 3], np.int64)
    assert np.array_equal(world.all_reduce(big), big * size)
    full = np.array([2**64 // size - 1], np.uint64)
    assert int(world.all_reduce(full)[0]) == int(full[0]) * size
    for value in (np.array([100], np.int8), np.array([2**62], np.int64)):
        try:
            world.all_reduce(np.repeat(value, 3) if size > 1 else value)
        except OverflowError:
            continue
        assert size < 2 or int(value[0]) * size <= np.iinfo(value.dtype).max
    assert world.all_reduce(np.array([True, False])).tolist() == [size, 0]


def shares(world: Communicator) -> None:
    """Gather, scatter, all_gather and reduce_scatter, with uneven blocks."""
    rank, size = world.rank, world.world_size
    assert [int(each[0]) for each in world.all_gather(np.full(rank + 1, rank))] == list(range(size))
    for root in (0, size - 1):
        got = world.gather((rank, "x"), root)
        assert got == ([(each, "x") for each in range(size)] if rank == root else None)
        values = [np.arange(each) for each in range(size)] if rank == root else None
        assert len(world.scatter(values, root)) == rank
    for rows in (1, size, 3 * size + 1):
        value = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        want = np.array_split(value * size, size)[rank]
        assert np.array_equal(world.reduce_scatter(value), want)
        wide = np.arange(rows, dtype=np.int64)
        assert np.array_equal(world.reduce_scatter(wide), np.array_split(wide * size, size)[rank])


def barrier(world: Communicator, delay_s: float) -> list[float]:
    """When this rank entered and left; the last rank comes late."""
    if world.rank == world.world_size - 1:
        threading.Event().wait(delay_s)
    entered = time.monotonic()
    world.barrier()
    return [entered, time.monotonic()]


def threads_apart(world: Communicator) -> None:
    """Collectives of several threads at once do not mix."""
    failures: list[str] = []

    def work(channel: int) -> None:
        try:
            for number in range(20):
                got = world.all_reduce(np.array([channel * 100 + number]), channel=channel)
                assert int(got[0]) == world.world_size * (channel * 100 + number)
        except Exception:  # noqa: BLE001 - the thread's boundary
            failures.append(traceback.format_exc())

    running = [threading.Thread(target=work, args=(channel,)) for channel in range(1, 4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures, failures[0]


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


CHECKS: dict[str, Callable[..., Any]] = {
    check.__name__: check
    for check in (
        objects,
        numpy_arrays,
        mlx_arrays,
        broadcasts,
        reductions,
        sharp_integers,
        shares,
        barrier,
        threads_apart,
        mismatch,
        invalid_ranks,
        timeouts,
        large_message,
        small_beside_large,
        ping_pong,
        receive_until_lost,
        wait_until_up,
        over_the_limit,
        until_interrupted,
        hold_gil,
        link_counters,
        thread_names,
        loaded_modules,
    )
}


def main() -> None:
    """Serve checks until stdin ends."""
    spec = json.loads(sys.argv[1])
    spec["addresses"] = tuple((host, port) for host, port in spec["addresses"])
    world = Communicator(CommSettings(**spec))
    world.start()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"result": CHECKS[order["check"]](world, **order["args"])}
        except Exception:  # noqa: BLE001 - the process's boundary: the test shows it
            answer = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    begin = time.monotonic()
    world.close()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("comm-")]
    sys.stdout.write(json.dumps({"result": [time.monotonic() - begin, left]}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
