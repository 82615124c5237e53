"""What a rank of a test world does with data: objects, arrays, collectives.

Runs in the rank's process, which imports no pytest.
"""

from __future__ import annotations

import hashlib
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from daemon.comm import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.comm.communicator import Communicator

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


CHECKS: tuple[Callable[..., Any], ...] = (
    objects,
    numpy_arrays,
    mlx_arrays,
    broadcasts,
    reductions,
    sharp_integers,
    shares,
    barrier,
    threads_apart,
)
