"""The columns of the rank table: what each shows, which fit into a given width, their order.

Pure text from the store; the table widget paints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlxconsole.ui.rank_values import (
    BAR_WIDTH,
    figure,
    kv_share,
    layers,
    link_s,
    memory,
    memory_bar,
    memory_share,
    of_status,
    severity,
    tokens_per_s,
    trend,
    uptime_s,
)
from mlxconsole.units import UNKNOWN, duration, rate, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlxconsole.store import RankView
    from mlxconsole.ui.rank_values import Value

GLYPHS = {"READY": "*", "DOWN": "x", "FAILED": "!", "DRAINING": "~", "UNKNOWN": "?"}
COMING_BACK = frozenset({"STARTING", "LOADING"})
REMEMBERED_S = 8.0
"""A warm spare replaces a dead worker within a moment: its row says for this long what happened."""
TONES = {"READY": "good", "DOWN": "bad", "FAILED": "bad", "UNKNOWN": "dim"}

WORST_FIRST = "STATE"
"""The column whose order is that of who needs somebody."""
MEMORY_STEPS = 10
"""Memory decides between ranks of one state, in steps: else lines would change places all day."""


@dataclass(frozen=True)
class Column:
    """One column; the lower its ``need``, the narrower the screen that still shows it."""

    title: str
    width: int
    need: int
    means: str
    """What it shows, and in which unit: the help's legend."""
    value: Value
    """What to sort by; None sorts last."""
    show: Callable[[Any], str] = str
    """The value as text."""
    draw: Callable[[RankView, float], str] | None = None
    """Where the text is more than the value."""
    left: bool = False

    def cell(self, view: RankView, now_s: float) -> str:
        """What stands in the rank's line."""
        if self.draw is not None:
            return self.draw(view, now_s)
        value = self.value(view, now_s)
        return UNKNOWN if value is None else self.show(value)


def fit(width: int, ranks: int = 2) -> tuple[Column, ...]:
    """The most needed columns that ``width`` has room for, in reading order; always RANK, STATE.

    One rank alone has no links and no bubble.
    """
    room, chosen = width - MARK_WIDTH, set[str]()
    useful = (c for c in COLUMNS if ranks > 1 or c.title not in ALONE)
    for column in sorted(useful, key=lambda c: c.need):
        room -= column.width + 1
        if room < 0 and column.need > ALWAYS:
            break
        chosen.add(column.title)
    return tuple(column for column in COLUMNS if column.title in chosen)


def titles(columns: tuple[Column, ...], sort: str = "", *, down: bool = True) -> str:
    """The line above the rows; the sorted column carries an arrow."""
    mark = "v" if down else "^"
    names = (_align(c, c.title + mark if c.title == sort else c.title) for c in columns)
    return " " * MARK_WIDTH + " ".join(names)


def ordered(views: Iterable[RankView], sort: str, now_s: float, *, down: bool) -> list[int]:
    """The ranks by what a column shows, unknown last; without a column by their number."""
    ranked = sorted(views, key=lambda v: v.member.rank)
    column = next((c for c in COLUMNS if c.title == sort), None)
    if column is None:
        return [v.member.rank for v in ranked]
    values: list[tuple[Any, int]] = [(column.value(v, now_s), v.member.rank) for v in ranked]
    known = [pair for pair in values if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=down)  # stable: equal ones stay in rank order
    return [rank for _, rank in known] + [rank for value, rank in values if value is None]


def worst(view: RankView, _now_s: float = 0.0) -> float:
    """Larger for ranks that need somebody, then for those whose memory is fuller."""
    return severity(view) + int(MEMORY_STEPS * (memory_share(view) or 0.0)) / (2 * MEMORY_STEPS)


def row(view: RankView, columns: tuple[Column, ...], now_s: float) -> tuple[str, str, str]:
    """A rank's line in three parts: before the state, the state, after it.

    What a rank without a worker would show after its state gives way to the cause.
    """
    position = [c.title for c in columns].index("STATE")
    before = " ".join(_align(c, c.cell(view, now_s)) for c in columns[:position])
    state = _align(columns[position], state_cell(view, now_s))
    cause = note(view, now_s)
    if cause:
        return before, state, cause
    after = " ".join(_align(c, c.cell(view, now_s)) for c in columns[position + 1 :])
    return before, state, after


def tone(view: RankView) -> str:
    """How the state is coloured: good, busy, bad or dim. The word says the same."""
    return "dim" if view.contact == "lost" else TONES.get(view.state, "busy")


def note(view: RankView, now_s: float) -> str:
    """Why the rank is not working, or was not a moment ago; shown in place of its figures."""
    status = view.status
    if view.contact == "lost" and status is None:
        return f"no contact: {view.reason}"
    if status and view.contact == "live" and view.state in {"DOWN", "FAILED"}:
        return status.exit_cause
    if status and view.contact == "live" and status.exit_cause:
        if view.state in COMING_BACK:
            return f"after: {status.exit_cause}"
        if now_s - view.ended_at_s < REMEMBERED_S:
            ago = duration(now_s - view.ended_at_s)
            return f"back; {ago} ago: {status.exit_cause}"
    return ""


def state_cell(view: RankView, now_s: float) -> str:
    """Glyph, word, and how far or since when."""
    if view.contact == "lost" and view.status:
        return f"? {view.state} {duration(now_s - view.seen_at_s)} ago"
    text = f"{GLYPHS.get(view.state, 'o')} {view.state}"
    progress = view.status.progress if view.status else None
    if view.state == "LOADING" and progress and progress.layers_total:
        return f"{text} {progress.layers_done}/{progress.layers_total}"
    if view.state in {"DOWN", "FAILED"}:
        return f"{text} {duration(now_s - view.state_since_s)}"
    return text


def _align(column: Column, text: str) -> str:
    text = text if len(text) <= column.width else text[: column.width - 1] + "+"
    return text.ljust(column.width) if column.left else text.rjust(column.width)


def _layers(view: RankView, _now_s: float) -> str:
    status = view.status
    if status is None or status.layer_hi <= status.layer_lo:
        return UNKNOWN
    return f"{status.layer_lo}-{status.layer_hi - 1}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"


def _count(value: float) -> str:
    return str(int(value))


MARK_WIDTH = 1
ALWAYS = 1
"""Columns needed this much are there on any screen, and before the first layout, without width."""

COLUMNS = (
    Column("RANK", 4, 0, "its number, the order of the layers", lambda v, _now_s: v.member.rank),
    Column(
        "STATE", 16, 1, "what it does, or since when it doesn't", worst, draw=state_cell, left=True
    ),
    Column("LAYERS", 7, 3, "of the model, from first to last", layers, draw=_layers, left=True),
    Column(
        "HOST",
        21,
        11,
        "host and port of its links",
        lambda v, _now_s: f"{v.member.host}:{v.member.port}",
        left=True,
    ),
    Column(
        "MEM",
        BAR_WIDTH,
        7,
        "its limit: # weights = KV - other . kept for reuse _ free",
        lambda v, _now_s: memory_share(v),
        draw=memory_bar,
        left=True,
    ),
    Column("ACTIVE", 6, 4, "bytes of arrays alive in MLX", memory("mlx_active_bytes"), size),
    Column("LIMIT", 5, 10, "bytes that MLX may use", memory("limit_bytes"), size),
    Column("WEIGHTS", 7, 20, "bytes of its layers' parameters", memory("weights_bytes"), size),
    Column("KV", 5, 12, "bytes of the caches of sequences", memory("kv_bytes"), size),
    Column("RSS", 5, 17, "bytes of the worker process in RAM", memory("rss_bytes"), size),
    Column("CACHE", 5, 25, "bytes that MLX keeps for reuse", memory("mlx_cache_bytes"), size),
    Column("PEAK", 5, 16, "most bytes that MLX had alive", memory("mlx_peak_bytes"), size),
    Column("TOK/S", 5, 2, "generated tokens a second, of the last 3 s", tokens_per_s, rate),
    Column("TREND", BAR_WIDTH, 13, "TOK/S of the last 16 s", tokens_per_s, draw=trend, left=True),
    Column(
        "BUB%",
        4,
        6,
        "bubble: % of the time that it did not compute",
        figure(lambda f: f.bubble),
        _percent,
    ),
    Column("LINK", 5, 8, "round trip to the next rank in ms, median", link_s("rtt_p50_s"), _ms),
    Column(
        "Q",
        3,
        9,
        "requests that wait to begin (rank 0)",
        of_status(lambda s: s.queue_depth),
        _count,
    ),
    Column(
        "IN/S",
        5,
        18,
        "prompt tokens a second that run through it",
        figure(lambda f: f.tokens_in),
        rate,
    ),
    Column("OUT/S", 5, 19, "generated tokens a second", figure(lambda f: f.tokens_out), rate),
    Column("LINK99", 6, 15, "round trip in ms that 99% stay under", link_s("rtt_p99_s"), _ms),
    Column("KV%", 3, 21, "% of the room for caches in use", kv_share, _percent),
    Column(
        "HIT%",
        4,
        22,
        "% of prompt tokens found in its prefix cache",
        figure(lambda f: f.prefix_hits),
        _percent,
    ),
    Column(
        "WAIT%",
        5,
        23,
        "% of the time spent waiting for ranks before it or for results",
        figure(lambda f: f.wait),
        _percent,
    ),
    Column(
        "SEND%", 5, 24, "% of the time spent handing results on", figure(lambda f: f.send), _percent
    ),
    Column("RST", 3, 14, "restarts of its worker so far", of_status(lambda s: s.restarts), _count),
    Column(
        "STEPS",
        8,
        29,
        "steps since its worker started",
        of_status(lambda s: s.counters.steps),
        _count,
    ),
    Column(
        "TOKENS IN",
        9,
        30,
        "prompt tokens since its worker started",
        of_status(lambda s: s.counters.tokens_in),
        _count,
    ),
    Column(
        "TOKENS OUT",
        10,
        31,
        "generated since its worker started",
        of_status(lambda s: s.counters.tokens_out),
        _count,
    ),
    Column("SEQ", 4, 26, "live sequences", of_status(lambda s: s.sequences), _count),
    Column(
        "GEN",
        4,
        27,
        "generation: workers started so far",
        of_status(lambda s: s.generation),
        _count,
    ),
    Column("UP", 4, 5, "how long its worker has run", uptime_s, duration),
    Column("PID", 7, 28, "process id of its worker", of_status(lambda s: s.worker_pid), _count),
)
ALONE = frozenset({"BUB%", "LINK", "LINK99", "WAIT%", "SEND%"})
"""Columns about other ranks: where there is one, they say nothing."""
