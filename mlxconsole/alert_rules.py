"""What each alert reads of a rank, and how it says it.

Pure: one function per rule gives a value, which `alerts` compares with its bounds, and the words
for it; None where the rule does not apply now.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlxconsole.request_rows import milliseconds
from mlxconsole.units import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlxconsole.alert_settings import Bounds
    from mlxconsole.store import RankView
    from protos.control_pb2 import RankStatus

LOOP_S = 120.0
"""In which restarts are counted."""
DROPS_S = 60.0
"""In which lost log lines are counted."""
QUEUE_S = 30.0
"""Over which the growth of the queue is looked at."""

Finding = tuple[float, str]
"""The value and the words for it."""


@dataclass(slots=True)
class Past:
    """What the rules remember of one rank."""

    near: frozenset[int] = frozenset()
    """Ranks on its own machine: round trips to them tell how long they wait for a core."""
    steps: tuple[str, int] = ("", -1)
    """boot_id and steps when the rank last got on."""
    got_on_at_s: float = 0.0
    restarts: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=512))
    drops: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=512))
    queue: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=512))


def growth(past: deque[tuple[float, int]], now_s: float, count: int, span_s: float) -> int:
    """How much a counter has grown within the last ``span_s``; one that fell began anew."""
    if past and count < past[-1][1]:
        past.clear()
    return change(past, now_s, count, span_s)


def change(past: deque[tuple[float, int]], now_s: float, count: int, span_s: float) -> int:
    """How much a number has changed within the last ``span_s``."""
    past.append((now_s, count))
    while past[0][0] < now_s - span_s:
        past.popleft()
    return count - past[0][1]


def found(
    view: RankView, past: Past, now_s: float, bounds: Mapping[str, Bounds]
) -> dict[str, Finding]:
    """Of every rule that applies: its value and its words."""
    who = f"rank {view.member.rank}"
    if view.contact == "lost":
        return {"down": (1.0, f"{who}: no contact: {view.reason}")}
    status = view.status
    if status is None or view.contact != "live":
        return {}
    made: dict[str, Finding] = {}
    if view.state in {"DOWN", "FAILED"}:
        cause = status.exit_cause or "no cause known"
        made["down"] = (1.0, f"{who} is {view.state}: {cause}")
    for name, rule in RULES.items():
        finding = rule(view, status, past, now_s, bounds[name].floor)
        if finding is not None:
            made[name] = (finding[0], f"{who} {finding[1]}")
    return made


def _silent(
    view: RankView, _status: RankStatus, _past: Past, now_s: float, _floor: float
) -> Finding:
    silent_s = now_s - view.seen_at_s
    return silent_s, f"has not been heard of for over {duration(silent_s)}"


def _stuck(view: RankView, status: RankStatus, past: Past, now_s: float, _floor: float) -> Finding:
    steps = (status.boot_id, status.counters.steps)
    if steps != past.steps or view.state != "READY" or not status.sequences:
        past.steps, past.got_on_at_s = steps, now_s
    idle_s = now_s - past.got_on_at_s
    return idle_s, f"has live sequences and no step for over {duration(idle_s)}"


def _memory(
    _view: RankView, status: RankStatus, _past: Past, _now_s: float, _floor: float
) -> Finding | None:
    if not status.memory.limit_bytes:
        return None
    share = status.memory.mlx_active_bytes / status.memory.limit_bytes
    return share, f"uses {share:.0%} of its memory"


def _bubble(
    view: RankView, status: RankStatus, _past: Past, _now_s: float, floor: float
) -> Finding | None:
    """Only with ``floor`` sequences for each rank: else there is not work enough for all."""
    share = view.figures.bubble
    if share is None or status.world_size < 2 or status.sequences < floor * status.world_size:
        return None
    return share, f"idles {share:.0%} of the time with work enough: page 8 says why"


def _link(
    view: RankView, status: RankStatus, past: Past, _now_s: float, floor: float
) -> Finding | None:
    """The worst link to another machine whose p99 takes ``floor`` seconds at least."""
    far = [link for link in status.links if link.peer not in past.near]
    slow = [x for x in far if x.rtt_p50_s > 0 and x.rtt_p99_s >= max(floor, 1e-9)]
    if not slow:
        return (0.0, "") if far and view.contact == "live" else None
    worst = max(slow, key=lambda link: link.rtt_p99_s / link.rtt_p50_s)
    ratio = worst.rtt_p99_s / worst.rtt_p50_s
    usual, late = milliseconds(worst.rtt_p50_s), milliseconds(worst.rtt_p99_s)
    return ratio, f"to rank {worst.peer}: one round trip in 100 takes {late}, the usual {usual}"


def _queue(
    _view: RankView, status: RankStatus, past: Past, now_s: float, floor: float
) -> Finding | None:
    """Growth of a queue that is ``floor`` long at least."""
    if status.rank != 0:
        return None
    grown = change(past.queue, now_s, status.queue_depth, QUEUE_S)
    if status.queue_depth < floor:
        return 0.0, ""
    return grown, f"has {status.queue_depth} requests waiting, {grown} more than lately"


def _restarts(
    _view: RankView, status: RankStatus, past: Past, now_s: float, _floor: float
) -> Finding:
    count = growth(past.restarts, now_s, status.restarts, LOOP_S)
    return count, f"restarts again and again: {status.exit_cause}"


def _first_token(
    view: RankView, _status: RankStatus, _past: Past, _now_s: float, _floor: float
) -> Finding:
    first_s = view.figures.first_token.p95_s or 0.0
    return first_s, f"lets one request in twenty wait {first_s:.0f} s for its first token"


def _log_drops(
    view: RankView, status: RankStatus, past: Past, now_s: float, _floor: float
) -> Finding:
    lost = status.counters.log_lines_dropped + view.lines_lost
    count = growth(past.drops, now_s, lost, DROPS_S)
    return count, f"lost {count} log lines within a minute"


def _clock(
    view: RankView, _status: RankStatus, _past: Past, _now_s: float, _floor: float
) -> Finding:
    """Lines of ranks are merged by their own clocks: their order misleads."""
    skew_s = abs(view.clock_skew_s or 0.0)
    return skew_s, f"has a clock that is {skew_s:.1f} s off ours"


RULES: dict[str, Callable[[RankView, RankStatus, Past, float, float], Finding | None]] = {
    "silent": _silent,
    "stuck": _stuck,
    "memory": _memory,
    "bubble": _bubble,
    "link": _link,
    "queue": _queue,
    "restarts": _restarts,
    "first token": _first_token,
    "log drops": _log_drops,
    "clock": _clock,
}
