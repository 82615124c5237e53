"""One request's steps across the ranks: link, wait, compute and send, token by token.

Pure: traces in, spans out. Clocks of ranks differ; what is known of that is taken off first, and
a hop that would still end before it began counts as nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from protos.control_pb2 import TraceStep

Kind = Literal["link", "wait", "compute", "send"]
KINDS: tuple[Kind, ...] = ("compute", "wait", "link", "send")


@dataclass(frozen=True, slots=True)
class Span:
    """What one rank did for one step; seconds since the step began on the first rank."""

    rank: int
    kind: Kind
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step, for a decoding request one token."""

    number: int
    tokens: int
    at_s: float
    """Unix time of its beginning, on the first rank's clock."""
    spans: tuple[Span, ...]

    @property
    def length_s(self) -> float:
        """Until the last rank had sent its result."""
        return max(span.until_s for span in self.spans)


def waterfall(
    traces: Mapping[int, Sequence[TraceStep]], skews_s: Mapping[int, float], most: int = 200
) -> list[StepRow]:
    """The last steps that every rank has told of, oldest first.

    Args:
        traces: per rank, in the order of the pipeline.
        skews_s: how far a rank's clock is before ours; 0 if unknown.
        most: steps.
    """
    by_step = defaultdict[tuple[int, int], dict[int, "TraceStep"]](dict)
    for rank, steps in traces.items():
        for step in steps:
            by_step[step.epoch, step.number][rank] = step
    whole = [found for _, found in sorted(by_step.items()) if len(found) == len(traces)]
    return [_row(found, skews_s) for found in whole[-most:]]


def totals_s(rows: Sequence[StepRow]) -> dict[tuple[int, Kind], float]:
    """Seconds by rank and kind over all rows."""
    found = defaultdict[tuple[int, Kind], float](float)
    for row in rows:
        for span in row.spans:
            found[span.rank, span.kind] += span.until_s - span.from_s
    return dict(found)


def _row(found: Mapping[int, TraceStep], skews_s: Mapping[int, float]) -> StepRow:
    ranks = sorted(found)
    first = found[ranks[0]]
    zero_s = first.arrived_s - skews_s.get(ranks[0], 0.0)
    spans: list[Span] = []
    now_s = 0.0
    for rank in ranks:
        step, skew_s = found[rank], skews_s.get(rank, 0.0)
        moments = (step.arrived_s, step.began_s, step.ended_s, step.sent_s)
        kinds: tuple[Kind, ...] = ("link", "wait", "compute", "send")
        for kind, moment_s in zip(kinds, moments, strict=True):
            until_s = max(moment_s - skew_s - zero_s, now_s)
            if until_s > now_s:
                spans.append(Span(rank, kind, now_s, until_s))
            now_s = until_s
    spans = spans or [Span(ranks[0], "compute", 0.0, 0.0)]
    return StepRow(first.number, first.tokens, zero_s, tuple(spans))
