"""Decides which rank owns which layers, from numbers alone. Pure; any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.errors import PlacementError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.execution.card import ModelCard


def place(card: ModelCard, limits: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Layer ranges for as many ranks as there are ``limits`` (bytes per rank).

    Raises:
        PlacementError: more ranks than the legal cuts allow, or not enough memory.
    """
    world = len(limits)
    if world == 1:
        return ((0, card.n_layers),)
    if len(card.legal_cuts) < world - 1:
        raise PlacementError(
            f"{card.model_type} can be cut in at most {len(card.legal_cuts) + 1} parts, not {world}"
        )
    edges = [0, *card.legal_cuts, card.n_layers]
    chosen = [0]
    for rank in range(1, world):
        wanted = card.n_layers * rank / world
        options = edges[edges.index(chosen[-1]) + 1 : len(edges) - (world - rank)]
        chosen.append(min(options, key=lambda edge: abs(edge - wanted)))
    return tuple(zip(chosen, [*chosen[1:], card.n_layers], strict=True))
