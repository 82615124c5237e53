"""How fast a placement will run, from bytes and rates alone. Pure, no MLX; any thread.

A step of a stage reads its weights once for all its rows and each row's context; it takes as long
as the memory or the compute needs, whichever is slower. Sequences run in as many groups as there
are stages, so that every stage is busy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.execution.model_card import ModelCard
    from daemon.execution.placement import Device

HOP_S = 0.0005
"""From one rank's result to the next rank's start, on a wired network."""


@dataclass(frozen=True)
class Prediction:
    """What some number of streams will get."""

    streams: int
    context_tokens: int
    """Of each stream."""
    stage_s: tuple[float, ...]
    """Per rank the time of one step of one group."""
    tokens_per_s: float
    """Of all streams together."""

    @property
    def slowest(self) -> int:
        """The rank that all wait for."""
        return max(range(len(self.stage_s)), key=self.stage_s.__getitem__)


def predict(
    card: ModelCard,
    ranges: Sequence[tuple[int, int]],
    devices: Sequence[Device],
    *,
    streams: int = 1,
    context_tokens: int = 0,
    hop_s: float = HOP_S,
) -> Prediction:
    """Decoding of ``streams`` sequences, each with that much context."""
    groups = min(len(ranges), streams)
    rows = math.ceil(streams / groups)
    stage_s = tuple(
        _stage_s(card, span, device, rows, context_tokens, has_head=span[1] == card.n_layers)
        for span, device in zip(ranges, devices, strict=True)
    )
    hops = len(ranges) if len(ranges) > 1 else 0  # the last one brings the token to rank 0
    round_s = max(sum(stage_s) + hops * hop_s, groups * max(stage_s))
    return Prediction(streams, context_tokens, stage_s, streams / round_s)


def _stage_s(
    card: ModelCard,
    span: tuple[int, int],
    device: Device,
    rows: int,
    context_tokens: int,
    *,
    has_head: bool,
) -> float:
    layers = range(*span)
    head = card.head_bytes if has_head else 0
    # Rows choose experts of their own: at most all of them are read.
    read = head + sum(min(card.layer_bytes[n], rows * card.layer_work_bytes[n]) for n in layers)
    read += rows * context_tokens * sum(card.kv_token_bytes[n] for n in layers)
    used = head + sum(card.layer_work_bytes[n] for n in layers)
    operations = 2 * rows * used * 8 / card.weight_bits
    compute_s = operations / device.flops if device.flops else 0.0
    return max(read / device.speed, compute_s)
