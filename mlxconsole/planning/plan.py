"""A cluster on paper: who would hold what, and how fast it would be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.execution.placement import USABLE, RankForecast, forecast, place
from daemon.execution.prediction import Prediction, predict

if TYPE_CHECKING:
    from daemon.execution.model_card import ModelCard
    from mlxconsole.planning.devices_file import Machines

MOST_STREAMS = 64
"""As many as the engine lets take part in steps by default."""
VERSION = 1


@dataclass(frozen=True)
class ClusterPlan:
    """What `mlxconsole plan` shows."""

    card: ModelCard
    machines: Machines
    ranks: tuple[RankForecast, ...]
    context_tokens: int
    """Of each stream."""
    streams: int
    """That are to fit at the same time."""
    alone: Prediction
    """One stream."""
    saturated: Prediction
    """As many streams as fit, at most `MOST_STREAMS`."""

    def used_bytes(self, rank: int) -> int:
        """Weights, and the context that was asked for."""
        row = self.ranks[rank]
        per_token = sum(self.card.kv_token_bytes[row.lo : row.hi])
        return row.weights_bytes + per_token * self.context_tokens * self.streams

    def limit_bytes(self, rank: int) -> int:
        """Of the device's memory, what placement may fill."""
        return int(self.machines.devices[rank].device.memory_bytes * USABLE)

    @property
    def kv_capacity_tokens(self) -> int:
        """Context of all streams together, that every rank has room for."""
        return min(row.kv_capacity_tokens for row in self.ranks)


def make_plan(
    card: ModelCard, machines: Machines, *, context_tokens: int, streams: int
) -> ClusterPlan:
    """Place the layers and predict.

    Raises:
        PlacementError: it does not fit; says how much is missing and what would do.
    """
    devices = [named.device for named in machines.devices]
    ranges = place(
        card,
        [device.memory_bytes for device in devices],
        [device.speed for device in devices],
        context_tokens * streams,
    )
    ranks = forecast(card, ranges, devices)
    capacity = min(row.kv_capacity_tokens for row in ranks)
    most = max(streams, min(MOST_STREAMS, capacity // context_tokens))
    alone, saturated = (
        predict(
            card,
            ranges,
            devices,
            streams=count,
            context_tokens=context_tokens,
            hop_s=machines.hop_s,
        )
        for count in (1, most)
    )
    return ClusterPlan(card, machines, ranks, context_tokens, streams, alone, saturated)


def document(plan: ClusterPlan) -> dict[str, Any]:
    """For scripts; bytes, seconds and tokens."""
    return {
        "version": VERSION,
        "model": {
            "type": plan.card.model_type,
            "fingerprint": plan.card.fingerprint,
            "layers": plan.card.n_layers,
            "weights_bytes": plan.card.whole_bytes,
            "max_context": plan.card.max_context,
        },
        "context_tokens": plan.context_tokens,
        "streams": plan.streams,
        "kv_capacity_tokens": plan.kv_capacity_tokens,
        "ranks": [
            {
                "rank": rank,
                "device": plan.machines.devices[rank].name,
                "layers": [row.lo, row.hi],
                "weights_bytes": row.weights_bytes,
                "kv_capacity_tokens": row.kv_capacity_tokens,
                "limit_bytes": plan.limit_bytes(rank),
                "headroom_bytes": plan.limit_bytes(rank) - plan.used_bytes(rank),
                "stage_s": plan.alone.stage_s[rank],
                "saturated_stage_s": plan.saturated.stage_s[rank],
            }
            for rank, row in enumerate(plan.ranks)
        ],
        "one_stream": {"tokens_per_s": plan.alone.tokens_per_s},
        "saturated": {
            "streams": plan.saturated.streams,
            "tokens_per_s": plan.saturated.tokens_per_s,
            "slowest_rank": plan.saturated.slowest,
        },
    }
