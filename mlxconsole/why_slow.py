"""Why the cluster is not faster: the rank or the link that sets the pace, and what a move gives.

Pure: one reading per rank in, words and numbers out. The model of the pipeline has two regimes. A
step can't come more often than the slowest rank computes it (busy), and with few steps under way
no sooner than one has gone round through all ranks and links (round trip).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

BUSY = 0.80
"""A rank that computes for this share of the time sets the pace; the rest is jitter."""
LINK_SHARE = 1.0
"""Links that take more of a round than all ranks compute are what to look at."""
FAR_SHARE = 2.0
LEAST_GAIN = 0.05
"""A move that promises less is not worth a restart."""

Kind = Literal["idle", "rank", "link", "round trip"]


@dataclass(frozen=True, slots=True)
class RankPace:
    """One rank over the last seconds; times are means per step."""

    rank: int
    layers: int
    compute_s: float
    busy: float
    """Share of the time that it computed, 0 to 1."""
    wait_s: float = 0.0
    hop_s: float = 0.0
    """To the next rank: packing, handing over, and half a round trip."""
    layer_bytes: int = 0
    room_bytes: int | None = None
    """What its memory has left; None if there is no limit."""


@dataclass(frozen=True, slots=True)
class Move:
    """A better cut: what it is predicted to give."""

    giver: int
    taker: int
    layers: int
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What sets the pace."""

    kind: Kind
    culprit: int | None
    """The rank, or the rank at whose end towards the next the link is."""
    tokens_per_s: float
    sentences: tuple[str, ...]
    move: Move | None = None


def diagnose(paces: Sequence[RankPace], tokens_per_s: float, in_flight: float) -> Diagnosis:
    """What sets the pace of these ranks, in the order of the pipeline.

    Args:
        paces: of every rank; empty if nothing ran.
        tokens_per_s: of the cluster, now.
        in_flight: steps that were on their way at a time, on average.
    """
    if not paces or tokens_per_s <= 0 or max(pace.compute_s for pace in paces) <= 0:
        text = "Nothing runs: no tokens in the last seconds."
        return Diagnosis("idle", None, 0.0, (text,))
    slowest = max(paces, key=lambda pace: pace.compute_s)
    busiest = max(paces, key=lambda pace: pace.busy)
    computing_s, hops_s = sum(p.compute_s for p in paces), sum(p.hop_s for p in paces)
    move = best_move(paces, tokens_per_s, in_flight) if len(paces) > 1 else None
    if busiest.busy >= BUSY:
        found = Diagnosis("rank", busiest.rank, tokens_per_s, _busy(busiest, paces), move)
    elif _is_link(hops_s, computing_s, slowest, paces):
        worst = max(paces, key=lambda pace: pace.hop_s)
        found = Diagnosis("link", worst.rank, tokens_per_s, _link(worst, paces), move)
    else:
        sentences = _round(slowest, computing_s, hops_s, in_flight, len(paces))
        kind: Kind = "rank" if _stands_out(slowest, paces) else "round trip"
        culprit = slowest.rank if kind == "rank" else None
        found = Diagnosis(kind, culprit, tokens_per_s, sentences, move)
    return replace(found, sentences=(*found.sentences, _advice(move, tokens_per_s)))


def best_move(paces: Sequence[RankPace], tokens_per_s: float, in_flight: float) -> Move | None:
    """The single move of layers that promises most, or None if none is worth it.

    Ranks between the two hand on as many layers as they get, and keep their pace.
    """
    now_s, found = _interval_s(paces, in_flight), None
    giver = max(range(len(paces)), key=lambda at: paces[at].compute_s)
    most = tokens_per_s * (1 + LEAST_GAIN)
    for taker in range(len(paces)):
        for layers in range(1, paces[giver].layers):
            if taker == giver or not _fits(paces[giver], paces[taker], layers):
                break
            then_s = _interval_s(_moved(paces, giver, taker, layers), in_flight)
            if tokens_per_s * now_s / then_s > most:
                most = tokens_per_s * now_s / then_s
                found = Move(paces[giver].rank, paces[taker].rank, layers, most)
    return found


def _interval_s(paces: Sequence[RankPace], in_flight: float) -> float:
    """Between two steps, as the model has it."""
    round_s = sum(pace.compute_s + pace.hop_s for pace in paces)
    return max(*(pace.compute_s for pace in paces), round_s / max(in_flight, 1))


def _moved(paces: Sequence[RankPace], giver: int, taker: int, layers: int) -> list[RankPace]:
    moved = list(paces)
    for at, change in ((giver, -layers), (taker, layers)):
        pace = paces[at]
        layer_s = pace.compute_s / max(pace.layers, 1)
        moved[at] = replace(pace, compute_s=pace.compute_s + change * layer_s)
    return moved


def _fits(giver: RankPace, taker: RankPace, layers: int) -> bool:
    return taker.room_bytes is None or layers * giver.layer_bytes <= taker.room_bytes


def _is_link(
    hops_s: float, computing_s: float, slowest: RankPace, paces: Sequence[RankPace]
) -> bool:
    """A rank that is slow answers late, too: if one is, its links must be far slower to blame."""
    share = FAR_SHARE if _stands_out(slowest, paces) else LINK_SHARE
    return len(paces) > 1 and hops_s > share * computing_s


def _stands_out(slowest: RankPace, paces: Sequence[RankPace]) -> bool:
    others = [pace.compute_s for pace in paces if pace.rank != slowest.rank]
    return bool(others) and slowest.compute_s > 1.5 * max(others)


def _busy(busiest: RankPace, paces: Sequence[RankPace]) -> tuple[str, ...]:
    others = [pace.compute_s for pace in paces if pace.rank != busiest.rank]
    first = (
        f"Rank {busiest.rank} sets the pace: it computes {busiest.busy:.0%} of the time, "
        f"{_ms(busiest.compute_s)} a step with {busiest.layers} layers."
    )
    if not others:
        return (first,)
    return first, f"The others need {_ms(min(others))} to {_ms(max(others))} and wait for it."


def _link(worst: RankPace, paces: Sequence[RankPace]) -> tuple[str, ...]:
    peer = paces[([pace.rank for pace in paces].index(worst.rank) + 1) % len(paces)].rank
    computing_s, hops_s = sum(p.compute_s for p in paces), sum(p.hop_s for p in paces)
    return (
        f"The link from rank {worst.rank} to rank {peer} sets the pace: {_ms(worst.hop_s)} a step.",
        f"All links take {_ms(hops_s)} of a round, all ranks compute {_ms(computing_s)}.",
    )


def _round(
    slowest: RankPace, computing_s: float, hops_s: float, in_flight: float, ranks: int
) -> tuple[str, ...]:
    if ranks == 1:
        return (
            f"One rank, {_ms(computing_s)} a step; it computes {slowest.busy:.0%} of the time.",
        )
    first = (
        f"No rank is full: {in_flight:.1f} steps under way at a time, "
        f"{_ms(computing_s)} of computing and {_ms(hops_s)} of links a round."
    )
    second = (
        f"Most of it is rank {slowest.rank}: {_ms(slowest.compute_s)} with {slowest.layers} layers."
    )
    third = f"With {ranks} requests at a time and more, the ranks would work beside each other."
    return (first, second, third) if in_flight < ranks - 0.5 else (first, second)


def _advice(move: Move | None, tokens_per_s: float) -> str:
    if move is None:
        return "No move of layers promises over 5 % more."
    return (
        f"{move.layers} layer{'s' if move.layers != 1 else ''} from rank {move.giver} to rank "
        f"{move.taker} would give about {move.tokens_per_s:.0f} tokens per second instead of "
        f"{tokens_per_s:.0f}."
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else f"{1000 * seconds:.0f} ms"
