"""How much memory each rank may use: what it was given, else its share of its machine. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.execution.devices import GIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.settings import RankPart


def rank_limit_bytes(ranks: Sequence[RankPart], rank: int, device_bytes: int) -> int:
    """Bytes for weights, KV and all else of a rank.

    Ranks of one host share its device: what some are given is left to nobody else, and the others
    get equal parts of the rest.

    Args:
        ranks: all of the cluster.
        rank: whose limit is wanted.
        device_bytes: what its device allows a process that has it alone.
    """
    mine = ranks[rank]
    if mine.memory_gib:
        return int(mine.memory_gib * GIB)
    beside = [other for other in ranks if other.host == mine.host]
    given = sum(int(other.memory_gib * GIB) for other in beside)
    sharing = sum(not other.memory_gib for other in beside)
    return max(0, device_bytes - given) // sharing
