"""What each rank may hold of KV, from the model, the plan and the settings. Pure; rank 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.engine.kv_budget import KvBudget, RankKv
from daemon.execution.placement import USABLE, Device, forecast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.execution.model_card import ModelCard
    from daemon.messages import Hello, Plan
    from daemon.settings import Settings

PREFIX_SHARE = 4
"""The prefix cache may fill one part of so many of the memory for KV."""
LEAST_BYTES = 64 << 20
"""Memory for KV that a rank is believed to have, however full it seems."""


def kv_budget(
    card: ModelCard, plan: Plan, hellos: Mapping[int, Hello], settings: Settings
) -> KvBudget:
    """The budget of the ranks that take part in ``plan``."""
    engine = settings.engine
    working = [rank for rank in sorted(hellos) if plan.ranges[rank][1] > plan.ranges[rank][0]]
    ranges = [plan.ranges[rank] for rank in working]
    devices = [Device(hellos[rank].memory_limit_bytes) for rank in working]
    ranks: list[RankKv] = []
    for rank, row in zip(working, forecast(card, ranges, devices), strict=True):
        usable = int(hellos[rank].memory_limit_bytes * USABLE)
        capacity = engine.kv_bytes or max(LEAST_BYTES, usable - row.weights_bytes)
        prefix = min(capacity, engine.prefix_cache_bytes or capacity // PREFIX_SHARE)
        ranks.append(rank_kv(card, row.lo, row.hi, capacity, prefix))
    return KvBudget(tuple(ranks), min(engine.prefill_cut, engine.prefill_chunk))


def rank_kv(card: ModelCard, lo: int, hi: int, capacity: int, prefix: int) -> RankKv:
    """What layers [lo, hi) need per token and per sequence, beside what there is."""
    tokens = zip(card.kv_token_bytes[lo:hi], card.kv_windows[lo:hi], strict=False)
    windows = tuple((kept, size) for size, kept in tokens if kept)
    return RankKv(
        capacity_bytes=capacity,
        prefix_bytes=prefix,
        token_bytes=sum(card.kv_token_bytes[lo:hi]) - sum(size for _, size in windows),
        windows=windows,
        state_bytes=sum(card.kv_state_bytes[lo:hi]),
    )
