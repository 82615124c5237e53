"""One line of a log as painted text: time, rank, level, text with what was searched for marked.

Pure apart from Rich's types; the log view brings the styles.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import chop_cells
from rich.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.style import Style

    from mlxconsole.log_entry import LogEntry
    from mlxconsole.log_selection import LogQuery

LEVEL_TONES = {"DEBUG": "dim", "WARNING": "busy", "ERROR": "bad", "CRITICAL": "bad"}
TIMES = ("clock", "precise", "none")
NARROW = 60
"""Below this width a line begins with the number of its rank only."""


@dataclass(frozen=True, slots=True)
class LineForm:
    """How lines are painted."""

    width: int
    time: str
    wrap: bool
    query: LogQuery
    style: Callable[[str], Style]
    """The style of a part: text, dim, busy, bad, found, here."""


def rows(entry: LogEntry, form: LineForm) -> int:
    """How many rows of the screen the line takes."""
    return len(_chunks(entry, form))


def painted(entry: LogEntry, row: int, form: LineForm, *, here: bool) -> list[Segment]:
    """Row ``row`` of the line; ``here`` is the line where the search stands."""
    query, style = form.query, form.style
    is_dim = query.pattern is not None and not query.finds(entry)
    text = style("dim" if is_dim else "here" if here else "text")
    start, chunk = _chunks(entry, form)[row]
    if row:
        head = [Segment(" " * _head_width(form), text)]
    elif form.width < NARROW:
        head = [Segment(f"{_who(entry)[:2]:<2}", text)]
    else:
        tone = "dim" if is_dim else LEVEL_TONES.get(entry.level, "text")
        head = [
            Segment(_clock(entry.time_s, form.time), style("dim")),
            Segment(f"{_who(entry):<16.16} ", text),
            Segment(f"{entry.level:<7.7} ", style(tone)),
        ]
    return [*head, *_marked(entry.text, start, start + len(chunk), form, text)]


def _who(entry: LogEntry) -> str:
    return entry.source if entry.rank < 0 else f"{entry.rank} {entry.source or '-'}"


def _clock(time_s: float, form: str) -> str:
    if form == "none":
        return ""
    text = time.strftime("%H:%M:%S", time.localtime(time_s))
    return f"{text}.{int(time_s % 1 * 1000):03d} " if form == "precise" else f"{text} "


def _head_width(form: LineForm) -> int:
    return 2 if form.width < NARROW else len(_clock(0, form.time)) + 25


def _chunks(entry: LogEntry, form: LineForm) -> list[tuple[int, str]]:
    """The text in pieces that fit beside the head, each with its place in the text."""
    if not form.wrap:
        return [(0, entry.text)]
    found: list[tuple[int, str]] = []
    start = 0
    for chunk in chop_cells(entry.text, max(form.width - _head_width(form), 8)) or [""]:
        found.append((start, chunk))
        start += len(chunk)
    return found


def _marked(text: str, start: int, end: int, form: LineForm, base: Style) -> Iterator[Segment]:
    """The text from ``start`` to ``end``, what the pattern finds in its own style."""
    at = start
    for match in form.query.pattern.finditer(text) if form.query.pattern else ():
        lo, hi = max(match.start(), start), min(match.end(), end)
        if lo < hi:
            yield Segment(text[at:lo], base)
            yield Segment(text[lo:hi], base + form.style("found"))
            at = hi
    yield Segment(text[at:end], base)
