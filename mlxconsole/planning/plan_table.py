"""A plan as text for a terminal of any kind. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.execution.devices import BANDWIDTH_SHARE, COMPUTE_SHARE
from mlxconsole.units import rate, size

if TYPE_CHECKING:
    from mlxconsole.planning.plan import ClusterPlan

TITLES = ("RANK", "DEVICE", "LAYERS", "WEIGHTS", "KV TOKENS", "LIMIT", "FREE", "STEP", "TOK/S")


def table(plan: ClusterPlan) -> list[str]:
    """Lines: the model, a row per rank, the total, what to expect, and what that rests on."""
    rows = [TITLES, *(_row(plan, rank) for rank in range(len(plan.ranks))), _total(plan)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    card, saturated = plan.card, plan.saturated
    return [
        f"{card.model_type}, {card.n_layers} layers, {card.weight_bits}-bit weights, "
        f"{size(card.whole_bytes)}, context to {card.max_context:,} tokens",
        *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows),
        f"one stream: {rate(plan.alone.tokens_per_s)} tok/s; {saturated.streams} streams: "
        f"{rate(saturated.tokens_per_s)} tok/s together, all waiting for rank {saturated.slowest}",
        f"at {plan.context_tokens:,} tokens of context each; context of all streams together: "
        f"{plan.kv_capacity_tokens:,} tokens",
        f"assumed: {BANDWIDTH_SHARE:.0%} of the bandwidth, {COMPUTE_SHARE:.0%} of the compute, "
        f"{plan.machines.hop_s * 1e3:g} ms from rank to rank",
    ]


def _row(plan: ClusterPlan, rank: int) -> tuple[str, ...]:
    row = plan.ranks[rank]
    limit = plan.limit_bytes(rank)
    return (
        str(rank),
        plan.machines.devices[rank].name,
        f"{row.lo}-{row.hi - 1}",
        size(row.weights_bytes),
        f"{row.kv_capacity_tokens:,}",
        size(limit),
        size(limit - plan.used_bytes(rank)),
        f"{plan.alone.stage_s[rank] * 1e3:.2f} ms",
        rate(1 / plan.alone.stage_s[rank]),
    )


def _total(plan: ClusterPlan) -> tuple[str, ...]:
    ranks = range(len(plan.ranks))
    limits = sum(plan.limit_bytes(rank) for rank in ranks)
    used = sum(plan.used_bytes(rank) for rank in ranks)
    return (
        "all",
        f"{len(plan.ranks)} machines" if len(plan.ranks) > 1 else "1 machine",
        f"0-{plan.card.n_layers - 1}",
        size(sum(row.weights_bytes for row in plan.ranks)),
        f"{plan.kv_capacity_tokens:,}",
        size(limits),
        size(limits - used),
        f"{sum(plan.alone.stage_s) * 1e3:.2f} ms",
        rate(plan.alone.tokens_per_s),
    )
