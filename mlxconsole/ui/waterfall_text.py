"""The waterfall as lines of text: a bar per step, digits where a rank computes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxconsole.waterfall import KINDS, StepRow, totals_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlxconsole.waterfall import Span

SIGNS = {"wait": ".", "link": "-", "send": "="}
RANK_SIGNS = "0123456789abcdefghijklmnopqrstuvwxyz"
HEAD = 24


def lines(rows: Sequence[StepRow], width: int) -> list[str]:
    """Totals first, then a line per step, the newest at the end."""
    if not rows:
        return ["No step that all ranks have told of."]
    longest_s = max(row.length_s for row in rows) or 1.0
    room = max(width - HEAD, 8)
    made = [
        f"{len(rows)} steps, the newest last; a full line is {1000 * longest_s:.1f} ms",
        "0 1 2.. that rank computes, . waits, - link, = sends",
        *_total_lines(rows),
        f"{'STEP':>8} {'TOKENS':>6} {'MS':>7} ",
    ]
    made += [
        f"{row.number:>8} {row.tokens:>6} {1000 * row.length_s:>7.1f} "
        + _bar(row.spans, longest_s, room)
        for row in rows
    ]
    return made


def _total_lines(rows: Sequence[StepRow]) -> list[str]:
    totals = totals_s(rows)
    whole_s = sum(totals.values()) or 1.0
    made: list[str] = []
    for rank in sorted({rank for rank, _ in totals}):
        parts = (f"{kind} {totals.get((rank, kind), 0.0) / whole_s:>4.0%}" for kind in KINDS)
        made.append(f"  rank {rank:<3} " + "  ".join(parts))
    return made


def _bar(spans: Sequence[Span], longest_s: float, room: int) -> str:
    """The row's spans one after another: each has a cell, so short ones push later ones on."""
    shown = _most_telling(spans, room)
    ends: list[int] = []
    for span in shown:
        wanted = round(room * span.until_s / longest_s)
        ends.append(max(wanted, ends[-1] + 1 if ends else 1))
    last = room
    for at in reversed(range(len(ends))):  # what was pushed over the edge pushes back
        ends[at] = min(ends[at], last)
        last = ends[at] - 1
    bar, begin = "", 0
    for span, end in zip(shown, ends, strict=True):
        sign = SIGNS.get(span.kind) or RANK_SIGNS[span.rank % len(RANK_SIGNS)]
        bar += sign * (end - begin)
        begin = end
    return bar


def _most_telling(spans: Sequence[Span], room: int) -> list[Span]:
    """As many as have room, in their order: who computes first, then what took longest."""
    ranked = sorted(spans, key=lambda s: (s.kind == "compute", s.until_s - s.from_s), reverse=True)
    return sorted(ranked[:room], key=lambda span: span.until_s)
