"""Collectives in worlds of any size, in one process: ranks are threads, links are real."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from daemon.comm.aio import AsyncCommunicator
from daemon.comm.communicator import Communicator
from daemon.comm.reductions import prepare
from daemon.comm.settings import CommSettings, TlsSettings
from daemon.errors import CodecError, CollectiveMismatch, PeerLost, SendTimeout
from tests.support.certificates import make_authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def in_world(size: int, work: Callable[[Communicator], Any], **changes: Any) -> list[Any]:
    """What ``work`` gives on each rank of a new world."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
    addresses = tuple(each.getsockname() for each in sockets)
    for each in sockets:
        each.close()
    # All ranks share one interpreter: on a busy machine a link may be without contact for long.
    patient: dict[str, Any] = {"peer_timeout_s": 60.0, "default_timeout_s": 100.0} | changes
    ranks = [Communicator(CommSettings(rank, addresses, **patient)) for rank in range(size)]
    with ThreadPoolExecutor(size) as pool:
        for rank in ranks:
            rank.start()
        try:
            return list(pool.map(work, ranks))
        finally:
            list(pool.map(Communicator.close, ranks))


@pytest.mark.parametrize("size", [1, 3, 6, 16])
def test_worlds_that_are_no_power_of_two(size: int) -> None:
    """Folding and uneven shares are where hand-written collectives go wrong."""

    def work(world: Communicator) -> list[Any]:
        rank = world.rank
        small = world.all_reduce(np.arange(5) * (rank + 1))
        large = world.all_reduce(np.full(200_003, rank + 1, np.float32), "max")
        few = world.all_reduce(np.full(2, 0.1 * rank), "mean")
        world.barrier()
        return [
            small.tolist(),
            float(large.sum()),
            few.tobytes(),
            world.broadcast(rank, size - 1),
            world.all_gather(rank),
            world.reduce_scatter(np.ones((size + 1, 2))).shape,
        ]

    results = in_world(size, work)
    total = sum(range(1, size + 1))
    for rank, result in enumerate(results):
        assert result[0] == [total * number for number in range(5)]
        assert result[1] == 200_003.0 * size
        assert result[2] == results[0][2]
        assert result[3:5] == [size - 1, list(range(size))]
        assert result[5] == (len(np.array_split(np.ones(size + 1), size)[rank]), 2)


def test_asyncio_twin_overlaps_calls() -> None:
    """Many coroutines of one loop wait at the same time."""

    def work(world: Communicator) -> list[Any]:
        twin = AsyncCommunicator(world)

        async def talk() -> list[Any]:
            peer = 1 - twin.rank
            got = asyncio.gather(*(twin.recv(peer, tag=tag) for tag in range(5)))
            for tag in reversed(range(5)):
                await twin.send(peer, tag * 10, tag)
            numbers = await got
            reduced = await twin.all_reduce(np.array([1.0]))
            await twin.barrier()
            parts = await twin.scatter([1, 2] if twin.rank == 0 else None)
            gathered = await twin.gather(parts, 1)
            every = await twin.all_gather(await twin.broadcast("x" if twin.rank == 0 else None))
            share = await twin.reduce_scatter(np.ones(2))
            return [*numbers, float(reduced[0]), gathered, every, float(share[0])]

        try:
            return asyncio.run(talk())
        finally:
            twin.close()

    left, right = in_world(2, work)
    assert left == [0, 10, 20, 30, 40, 2.0, None, ["x", "x"], 2.0]
    assert right == [0, 10, 20, 30, 40, 2.0, [1, 2], ["x", "x"], 2.0]


def test_a_rank_that_leaves_ends_the_waits_of_others() -> None:
    """Nobody waits for a rank that is gone, in point to point or in a collective."""

    def work(world: Communicator) -> str:
        world.barrier()
        if world.rank == 2:
            return "left"
        with pytest.raises(PeerLost):
            world.all_reduce(np.ones(3), timeout_s=20)
        return "told"

    def run(world: Communicator) -> str:
        result = work(world)
        if world.rank == 2:
            world.close()
        return result

    assert in_world(3, run) == ["told", "told", "left"]


def test_bad_arguments_leave_the_others_informed() -> None:
    """A rank that fails in a collective tells those who are in it already."""

    def work(world: Communicator) -> str:
        try:
            world.scatter([1] if world.rank == 0 else None)
        except ValueError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the kind is what the test asks for
            return type(error).__name__
        return "nothing"

    first, second = in_world(2, work)
    assert "one value per rank" in first
    assert second == "CommError"
    with pytest.raises(ValueError, match="unknown operation"):
        prepare(np.ones(3), "product")
    with pytest.raises(CodecError, match="not defined"):
        prepare(np.array(["a"]), "sum")
    with pytest.raises(CodecError, match="not defined"):
        prepare(np.array([1j]), "max")


def test_mismatch_names_both_sides() -> None:
    """Who debugs this needs to know which rank did what."""

    def work(world: Communicator) -> str:
        with pytest.raises(CollectiveMismatch) as caught:
            world.all_reduce(np.ones(world.rank + 2), timeout_s=20)
        error = caught.value
        assert (error.rank, error.peer) == (world.rank, 1 - world.rank)
        assert error.tag is not None
        assert error.elapsed_s is not None
        return str(error)

    for text in in_world(2, work):
        assert "(2,)" in text
        assert "(3,)" in text


def test_a_rank_that_comes_late_is_told_too() -> None:
    """The others gave the collective up before it was there; it must not wait for them."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    addresses = tuple(each.getsockname() for each in sockets)
    for each in sockets:
        each.close()
    ranks = [Communicator(CommSettings(rank, addresses)) for rank in range(3)]

    def work(rank: int) -> float:
        began = time.monotonic()
        with pytest.raises(CollectiveMismatch):
            ranks[rank].all_reduce(np.ones(3 if rank else 4), timeout_s=20)
        return time.monotonic() - began

    with ThreadPoolExecutor(3) as pool:
        try:
            ranks[0].start()
            ranks[1].start()
            list(pool.map(work, (0, 1)))
            ranks[2].start()
            assert work(2) < 10
        finally:
            list(pool.map(Communicator.close, ranks))


def test_mutual_tls(tmp_path: Path) -> None:
    """Ranks with certificates of the cluster's authority talk; one without is kept out."""
    authority, other = make_authority(tmp_path / "a"), make_authority(tmp_path / "b")

    def work(world: Communicator) -> int:
        return world.all_reduce(world.rank + 1)

    tls = TlsSettings(*authority, server_name="rank.cluster")
    assert in_world(2, work, tls=tls) == [3, 3]

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = tuple(each.getsockname() for each in sockets)
    for each in sockets:
        each.close()
    left = Communicator(CommSettings(0, addresses, tls=tls))
    stranger = TlsSettings(*other, server_name="rank.cluster")
    right = Communicator(CommSettings(1, addresses, tls=stranger))
    left.start()
    right.start()
    with pytest.raises(SendTimeout):
        right.send(0, 1, timeout_s=1.5)
    left.close()
    right.close()
