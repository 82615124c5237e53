"""Many ranks on one screen, worst first: four to a line, or one narrow column each. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxconsole.ui.rank_columns import GLYPHS, tone, worst
from mlxconsole.ui.rank_values import memory_share
from mlxconsole.units import UNKNOWN, rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlxconsole.store import RankView

Part = tuple[str, str]
"""Text and tone."""
UP = 4
"""Ranks to a line."""
HEAD, EACH = 6, 3
"""Cells of a band's title, and of a rank in it."""
LEVELS = " .:-=+*#%@"
"""Ten steps of a share, in any terminal."""
WORDS = {"READY": "rdy", "LOADING": "load", "JOINING": "join", "STARTING": "start"}


def worst_first(views: Sequence[RankView]) -> list[RankView]:
    """Those that need somebody first, then by how full their memory is, then by number."""
    return sorted(views, key=lambda v: (-worst(v), v.member.rank))


def four_up(views: Sequence[RankView], width: int, now_s: float) -> list[list[Part]]:
    """Rank, state, memory and tokens per second of four ranks a line."""
    each = max(width // UP, 1)
    cells = [_cell(view, each, now_s) for view in worst_first(views)]
    return [cells[at : at + UP] for at in range(0, len(cells), UP)]


def columns(views: Sequence[RankView], width: int, now_s: float) -> list[list[Part]]:
    """A narrow column for each rank: number, state, and shares in ten steps."""
    ordered = worst_first(views)
    lines: list[list[Part]] = []
    room = max((width - HEAD) // EACH, 1)
    for first in range(0, len(ordered), room):
        part = ordered[first : first + room]
        lines += [[], *_band(part, now_s)] if lines else _band(part, now_s)
    return lines


def _band(views: Sequence[RankView], now_s: float) -> list[list[Part]]:
    def line(head: str, cells: Sequence[str], *, plain: bool = False) -> list[Part]:
        pairs = zip(cells, views, strict=True)
        marks = ((cell.rjust(EACH), "text" if plain else tone(view)) for cell, view in pairs)
        return [(head.ljust(HEAD), "title"), *marks]

    rates = [view.tokens_out.per_second(now_s) or 0.0 for view in views]
    most = max(rates, default=0.0) or 1.0
    return [
        line("RANK", [str(view.member.rank) for view in views], plain=True),
        line("STATE", [_glyph(view) for view in views]),
        line("MEM", [_level(memory_share(view)) for view in views]),
        line("BUSY", [_level(_busy(view)) for view in views]),
        line("TOK/S", [_level(value / most) for value in rates]),
    ]


def _cell(view: RankView, width: int, now_s: float) -> Part:
    speed = rate(view.tokens_out.per_second(now_s)) if view.contact == "live" else UNKNOWN
    known = WORDS.get(view.state, view.state.lower())
    word = "lost" if view.contact == "lost" else known
    text = f"{view.member.rank:>3} {_glyph(view)} {word:<5.5} {speed:>5}t/s"
    if width >= 28:
        text += f" {_percent(memory_share(view))}"
    if width >= 40:
        text += f" mem {_percent(_busy(view))} busy"
    return text[: width - 1].ljust(width), tone(view)


def _glyph(view: RankView) -> str:
    return "?" if view.contact == "lost" else GLYPHS.get(view.state, "o")


def _busy(view: RankView) -> float | None:
    bubble = view.figures.bubble
    return None if bubble is None else 1 - bubble


def _percent(share: float | None) -> str:
    return f"{UNKNOWN:>4}" if share is None else f"{share:>4.0%}"


def _level(share: float | None) -> str:
    if share is None:
        return "?"
    return LEVELS[max(0, min(int(share * len(LEVELS)), len(LEVELS) - 1))]
