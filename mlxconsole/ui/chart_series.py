"""What the charts draw: for the cluster and for each rank up to four series, the first first.

Pure; reads pictures of the timeline. None is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlxconsole.request_rows import milliseconds
from mlxconsole.timeline import step_times_ms, token_rates
from mlxconsole.units import UNKNOWN, rate, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlxconsole.rank_window import RankFigures
    from mlxconsole.store import RankView
    from mlxconsole.timeline import Picture

CHARTS = 4
"""Of the cluster, and of each rank."""


@dataclass(frozen=True)
class Series:
    """One chart."""

    name: str
    values: Sequence[float | None]
    show: Callable[[float], str] = rate
    latest: str = ""
    """The present value in words, where the last of the values is not enough."""

    @property
    def now(self) -> str:
        """The present value as text."""
        last = self.values[-1] if self.values else None
        return self.latest or (UNKNOWN if last is None else self.show(last))

    @property
    def empty(self) -> str:
        """The title without anything to draw."""
        return f"{self.name} {UNKNOWN}"


def of_cluster(pictures: Sequence[Picture]) -> list[Series]:
    """Tokens per second, time of a step, live requests, bubble."""
    steps = [_first(picture).step for picture in pictures]
    last = steps[-1] if steps else None
    words = [milliseconds(s) for s in (last.p50_s, last.p95_s, last.p99_s) if s] if last else []
    return [
        Series("cluster tok/s", [_fastest(picture) for picture in pictures]),
        Series(
            "step",
            [step.p95_s for step in steps],
            milliseconds,
            f"p50 {words[0]} p95 {words[1]} p99 {words[2]}" if len(words) == 3 else "",
        ),
        Series("live sequences", [_sequences(picture) for picture in pictures], _count),
        Series("bubble, mean", [_bubble(picture) for picture in pictures], _percent),
    ]


def of_rank(pictures: Sequence[Picture], rank: int) -> list[Series]:
    """Tokens per second, compute time of a step, bubble, memory."""
    views = [picture.ranks[rank] for picture in pictures]
    name = f"rank {rank}"
    return [
        Series(f"{name} tok/s", token_rates(pictures, rank)),
        Series(f"{name} ms/step", step_times_ms(pictures, rank)),
        Series(f"{name} bubble", [view.figures.bubble for view in views], _percent),
        Series(f"{name} memory", [_memory(view) for view in views], size),
    ]


def _first(picture: Picture) -> RankFigures:
    """Rank 0 sees whole steps."""
    return next(iter(picture.ranks.values())).figures


def _fastest(picture: Picture) -> float | None:
    """Every rank that takes part counts the same tokens: the fullest count is the cluster's."""
    rates = [v.tokens_out.per_second(0.0) for v in picture.ranks.values() if v.contact == "live"]
    return max((value for value in rates if value is not None), default=None)


def _sequences(picture: Picture) -> float | None:
    live = [v.status.sequences for v in picture.ranks.values() if v.status and v.contact == "live"]
    return max(live, default=None)


def _bubble(picture: Picture) -> float | None:
    known = [b for v in picture.ranks.values() if (b := v.figures.bubble) is not None]
    return sum(known) / len(known) if known else None


def _memory(view: RankView) -> float | None:
    known = view.status is not None and view.status.worker_pid and view.contact == "live"
    return float(view.status.memory.mlx_active_bytes) if view.status and known else None


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _count(value: float) -> str:
    return str(int(value))
