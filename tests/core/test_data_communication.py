"""Data between 2, 4 and 8 real processes over real gRPC: the customer's plan, section 2.2."""

from __future__ import annotations

from typing import Any


def test_send_receive_pickle(world: Any) -> None:
    """Python objects travel between ranks; the plan says pickle, but none is on the wire."""
    world.run("objects")


def test_send_receive_numpy(world: Any) -> None:
    """NumPy arrays of any dtype, layout and size keep value, dtype and shape."""
    world.run("numpy_arrays")


def test_send_receive_mlx_tensors(world: Any) -> None:
    """MLX arrays arrive as MLX arrays of the same dtype on the receiver's default device."""
    world.run("mlx_arrays")


def test_broadcast_from_root(world: Any) -> None:
    """Every rank can be the root."""
    world.run("broadcasts")


def test_allreduce_operations(world: Any) -> None:
    """Sum, mean, max and min of every numeric dtype; the same bits on every rank."""
    world.run("reductions")
    world.run("sharp_integers")


def test_gather_scatter_and_reduce_scatter(world: Any) -> None:
    """The other collectives, with uneven shares."""
    world.run("shares")


def test_barrier_synchronization(world: Any) -> None:
    """Nobody leaves a barrier before the last rank has entered it."""
    times = world.run("barrier", delay_s=0.2)
    assert min(left for _, left in times) >= max(entered for entered, _ in times)


def test_collectives_of_several_threads_stay_apart(world: Any) -> None:
    """Channels keep collectives apart that are in flight at once."""
    world.run("threads_apart")
