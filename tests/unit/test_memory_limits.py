"""What each rank may use of its machine's memory."""

from __future__ import annotations

import pytest

from daemon.execution.devices import GIB
from daemon.memory_limits import rank_limit_bytes
from daemon.settings import RankPart


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ((0, 0, 0), (12, 12, 24)),
        ((4, 0, 0), (4, 20, 24)),
        ((30, 0, 0), (30, 0, 24)),
        ((8, 8, 8), (8, 8, 8)),
    ],
)
def test_ranks_of_one_machine_share_its_memory(
    given: tuple[float, ...], limits: tuple[float, ...]
) -> None:
    """Or two ranks of a 24 GiB machine would be given a model of 40 GiB."""
    hosts = ("127.0.0.1", "127.0.0.1", "10.0.0.2")
    ranks = [
        RankPart(host, 50100 + n, 50200 + n, memory_gib=gib)
        for n, (host, gib) in enumerate(zip(hosts, given, strict=True))
    ]
    for rank, limit in enumerate(limits):
        assert rank_limit_bytes(ranks, rank, 24 * GIB) == limit * GIB
