"""Says what is missing when a model does not fit, and what would fit instead. Pure; any thread."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.execution.model_card import ModelCard
    from daemon.execution.placement import Device

    Fits = Callable[[ModelCard, Sequence[Device], int], bool]

SEARCH_STEPS = 48
SMALLER_BITS = (8, 6, 5, 4, 3, 2)
MOST_RANKS = 64


def smallest(upper: float, holds: Callable[[float], bool]) -> float:
    """The smallest bound (to within the search's precision) for which ``holds``."""
    low, high = 0.0, upper
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def describe(card: ModelCard, devices: Sequence[Device], tokens: int, fits: Fits) -> str:
    """One line: how many bytes are missing, and every remedy that would do by itself."""
    offered = sum(device.memory_bytes for device in devices)
    missing = max(1, int(offered * (_growth(card, devices, tokens, fits) - 1)))
    text = (
        f"{card.model_type} with room for {tokens:,} tokens of context does not fit on "
        f"{len(devices)} rank(s) that offer {size(offered)} together: {missing:,} bytes "
        f"({size(missing)}) are missing"
    )
    remedies: list[str] = []
    if fits(card, devices, 0):
        less = tokens - smallest(float(tokens), lambda n: fits(card, devices, int(tokens - n)))
        remedies.append(f"{int(less):,} tokens of context would fit")
    else:
        text += f"; the weights alone ({size(card.whole_bytes)}) are too much"
    bits = _fewer_bits(card, devices, tokens, fits)
    if bits:
        remedies.append(f"{bits}-bit weights (these have {card.weight_bits}) would fit")
    ranks = _more_ranks(card, devices, tokens, fits)
    if ranks:
        remedies.append(f"{ranks} ranks would do, the new ones like the last")
    return "; ".join([text, *(remedies or ["add ranks with more memory"])])


def _growth(card: ModelCard, devices: Sequence[Device], tokens: int, fits: Fits) -> float:
    """By how much every device's memory would have to grow."""

    def enough(factor: float) -> bool:
        grown = [replace(d, memory_bytes=int(d.memory_bytes * factor)) for d in devices]
        return fits(card, grown, tokens)

    upper = 2.0
    while not enough(upper):
        upper *= 2
    return smallest(upper, enough)


def _fewer_bits(card: ModelCard, devices: Sequence[Device], tokens: int, fits: Fits) -> int:
    """The most bits per weight with which it fits; 0 if none does."""
    for bits in SMALLER_BITS:
        if bits < card.weight_bits and fits(_narrowed(card, bits), devices, tokens):
            return bits
    return 0


def _narrowed(card: ModelCard, bits: int) -> ModelCard:
    """The same model with fewer bits; scales shrink with the rest here, which is near enough."""
    # From full width come 0.5 bits a weight of scales and biases in groups of 64.
    scale = (bits + 0.5) / (card.weight_bits + (0.5 if card.weight_bits < 16 else 0))
    return replace(
        card,
        layer_bytes=tuple(int(count * scale) for count in card.layer_bytes),
        layer_work_bytes=tuple(int(count * scale) for count in card.layer_work_bytes),
        embed_bytes=int(card.embed_bytes * scale),
        head_bytes=int(card.head_bytes * scale),
        shared_bytes=int(card.shared_bytes * scale),
        whole_bytes=int(card.whole_bytes * scale),
    )


def _more_ranks(card: ModelCard, devices: Sequence[Device], tokens: int, fits: Fits) -> int:
    """The smallest number of ranks that holds it, if more of the last device come; 0 if none."""
    most = min(MOST_RANKS, len(card.legal_cuts) + 1)
    for count in range(len(devices) + 1, most + 1):
        if fits(card, [*devices, *[devices[-1]] * (count - len(devices))], tokens):
            return count
    return 0


def size(count: float) -> str:
    """Bytes with the unit that keeps them short."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.1f} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1024
    return f"{count:.1f} TiB"
