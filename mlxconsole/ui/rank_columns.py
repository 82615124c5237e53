"""The columns of the rank table: what each shows, and which fit into a given width.

Pure text from the store; the table widget paints it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mlxconsole.units import UNKNOWN, duration, rate, size

if TYPE_CHECKING:
    from mlxconsole.rank_window import RankFigures
    from mlxconsole.store import RankView
    from protos.control_pb2 import RankStatus

GLYPHS = {"READY": "*", "DOWN": "x", "FAILED": "!", "DRAINING": "~", "UNKNOWN": "?"}
COMING_BACK = frozenset({"STARTING", "LOADING"})
REMEMBERED_S = 8.0
"""A warm spare replaces a dead worker within a moment: its row says for this long what happened."""
TONES = {"READY": "good", "DOWN": "bad", "FAILED": "bad", "UNKNOWN": "dim"}

Cell = Callable[["RankView", float], str]


@dataclass(frozen=True)
class Column:
    """One column; the lower its ``need``, the narrower the screen that still shows it."""

    title: str
    width: int
    need: int
    cell: Cell
    left: bool = False


def fit(width: int) -> tuple[Column, ...]:
    """The most needed columns that ``width`` has room for, in reading order; always RANK, STATE."""
    room, chosen = width - MARK_WIDTH, set[str]()
    for column in sorted(COLUMNS, key=lambda c: c.need):
        room -= column.width + 1
        if room < 0 and column.need > ALWAYS:
            break
        chosen.add(column.title)
    return tuple(column for column in COLUMNS if column.title in chosen)


def titles(columns: tuple[Column, ...]) -> str:
    """The line above the rows."""
    return " " * MARK_WIDTH + " ".join(_align(c, c.title) for c in columns)


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


def _memory(key: str) -> Cell:
    def cell(view: RankView, _now_s: float) -> str:
        status = view.status
        if status is None or not status.HasField("memory") or not status.worker_pid:
            return UNKNOWN
        memory, value = status.memory, getattr(status.memory, key)
        # A worker that has not measured yet sends zeros.
        return size(value) if value or memory.limit_bytes or memory.mlx_active_bytes else UNKNOWN

    return cell


def _of_status(read: Callable[[RankStatus], object]) -> Cell:
    def cell(view: RankView, _now_s: float) -> str:
        return str(read(view.status)) if view.status and view.status.worker_pid else UNKNOWN

    return cell


def _rate(view: RankView, now_s: float) -> str:
    return rate(view.tokens_out.per_second(now_s)) if view.contact == "live" else UNKNOWN


def _uptime(view: RankView, now_s: float) -> str:
    status = view.status
    if status is None or not status.worker_pid:
        return UNKNOWN
    return duration(status.uptime_s + (now_s - view.seen_at_s if view.contact == "live" else 0))


def _figure(read: Callable[[RankFigures], float | None], show: Callable[[float], str]) -> Cell:
    def cell(view: RankView, _now_s: float) -> str:
        value = read(view.figures)
        return UNKNOWN if value is None else show(value)

    return cell


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _link(percentile: Literal["rtt_p50_s", "rtt_p99_s"]) -> Cell:
    """Round trip to the rank that gets this one's results."""

    def cell(view: RankView, _now_s: float) -> str:
        status = view.status
        if status is None or view.contact != "live":
            return UNKNOWN
        after = [link for link in status.links if link.peer > status.rank]
        link = min(after or status.links, key=lambda each: each.peer, default=None)
        known = link is not None and link.HasField(percentile)
        return f"{1000 * getattr(link, percentile):.2f}" if known else UNKNOWN

    return cell


def _kv_use(view: RankView, _now_s: float) -> str:
    memory = view.status.memory if view.status and view.status.worker_pid else None
    if memory is None or not memory.kv_capacity_bytes:
        return UNKNOWN
    return _percent(memory.kv_bytes / memory.kv_capacity_bytes)


MARK_WIDTH = 1
ALWAYS = 1
"""Columns needed this much are there on any screen, and before the first layout, without width."""

COLUMNS = (
    Column("RANK", 4, 0, lambda view, _now_s: str(view.member.rank)),
    Column("STATE", 16, 1, state_cell, left=True),
    Column("LAYERS", 7, 3, _layers, left=True),
    Column("HOST", 21, 12, lambda v, _now_s: f"{v.member.host}:{v.member.port}", left=True),
    Column("ACTIVE", 6, 4, _memory("mlx_active_bytes")),
    Column("WEIGHTS", 7, 7, _memory("weights_bytes")),
    Column("KV", 5, 11, _memory("kv_bytes")),
    Column("RSS", 5, 13, _memory("rss_bytes")),
    Column("CACHE", 5, 24, _memory("mlx_cache_bytes")),
    Column("PEAK", 5, 13, _memory("mlx_peak_bytes")),
    Column("LIMIT", 5, 10, _memory("limit_bytes")),
    Column("TOK/S", 5, 2, _rate),
    Column("BUB%", 4, 6, _figure(lambda f: f.bubble, _percent)),
    Column("LINK", 5, 8, _link("rtt_p50_s")),
    Column("Q", 3, 9, _of_status(lambda s: s.queue_depth)),
    Column("IN/S", 5, 15, _figure(lambda f: f.tokens_in, rate)),
    Column("OUT/S", 5, 18, _figure(lambda f: f.tokens_out, rate)),
    Column("LINK99", 6, 16, _link("rtt_p99_s")),
    Column("KV%", 3, 17, _kv_use),
    Column("HIT%", 4, 19, _figure(lambda f: f.prefix_hits, _percent)),
    Column("WAIT%", 5, 20, _figure(lambda f: f.wait, _percent)),
    Column("SEND%", 5, 21, _figure(lambda f: f.send, _percent)),
    Column("RESTARTS", 8, 14, _of_status(lambda s: s.restarts)),
    Column("STEPS", 8, 28, _of_status(lambda s: s.counters.steps)),
    Column("TOKENS IN", 9, 26, _of_status(lambda s: s.counters.tokens_in)),
    Column("TOKENS OUT", 10, 27, _of_status(lambda s: s.counters.tokens_out)),
    Column("SEQ", 4, 22, _of_status(lambda s: s.sequences)),
    Column("GEN", 4, 23, _of_status(lambda s: s.generation)),
    Column("UP", 4, 5, _uptime),
    Column("PID", 7, 25, _of_status(lambda s: s.worker_pid)),
)
