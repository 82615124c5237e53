"""The page "why" as lines of text: pace, memory, lines that divide the ranks. Pure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from mlxconsole import insight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlxconsole.store import Store
    from mlxconsole.ui.text_view import Line
    from mlxconsole.why_slow import RankPace

MOST_FORECASTS, MOST_ODDITIES = 6, 12
INDENT, LEAST_WIDTH = "  ", 20
SIGNS = ("# compute  . wait  = link, each of a step", "# compute  . wait  = link", "")


def lines(store: Store, width: int) -> list[Line]:
    """All lines of the page."""
    found = insight.why(store)
    paces = insight.paces(store)
    made: list[Line] = [("title", "Why not faster?")]
    made += _sentences(found.sentences, width)
    if paces:
        made += [("text", ""), ("title", _share_title(width))]
        made += [
            ("culprit" if pace.rank == found.culprit else "text", _share_line(pace, paces, width))
            for pace in paces
        ]
    forecasts = insight.memory(store)[:MOST_FORECASTS]
    made += [("text", ""), ("title", "When is memory full?")]
    told = [one.sentence for one in forecasts] or ["No admitted request holds a cache."]
    made += _sentences(told, width)
    oddities = insight.odd(store)[:MOST_ODDITIES]
    made += [("text", ""), ("title", "Odd one out in the logs")]
    told = [one.sentence for one in oddities] or [_nothing_odd(len(store.ranks))]
    return made + _sentences(told, width)


def _sentences(sentences: Iterable[str], width: int) -> list[Line]:
    """Each on as many lines as it needs: its end is often what it is about."""
    made: list[Line] = []
    for sentence in sentences:
        cut = wrap(sentence, max(width - len(INDENT), LEAST_WIDTH), subsequent_indent="  ")
        made += [("text", INDENT + part) for part in cut]
    return made


def _share_title(width: int) -> str:
    title = f"{'RANK':>5} {'LAYERS':>6} {'COMPUTE':>9} {'WAIT':>9} {'LINK':>9}  "
    return title + next(signs for signs in SIGNS if not signs or len(title + signs) <= width)


def _share_line(pace: RankPace, paces: list[RankPace], width: int) -> str:
    longest_s = max(p.compute_s + p.wait_s + p.hop_s for p in paces)
    room = max(width - 46, 0)
    parts = ((pace.compute_s, "#"), (pace.wait_s, "."), (pace.hop_s, "="))
    bar = "".join(round(room * seconds / longest_s) * sign for seconds, sign in parts)
    return (
        f"{pace.rank:>5} {pace.layers:>6} {_ms(pace.compute_s):>9} {_ms(pace.wait_s):>9} "
        f"{_ms(pace.hop_s):>9}  {bar}"
    )


def _nothing_odd(ranks: int) -> str:
    if ranks < 3:
        return "Two ranks can't outvote each other."
    return "All ranks printed the same forms of lines in the last five minutes."


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"
