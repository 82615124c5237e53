"""All that is known about one rank as lines of text. Pure; the inspector paints it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlxconsole.request_rows import milliseconds
from mlxconsole.ui.link_table import tone as link_tone
from mlxconsole.ui.rank_columns import note, state_cell, tone
from mlxconsole.ui.rank_values import BAR_SIGNS, measured, memory_bar, memory_parts
from mlxconsole.units import UNKNOWN, duration, rate, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlxconsole.rank_window import Percentiles
    from mlxconsole.store import RankView
    from mlxconsole.ui.text_view import Line
    from protos.control_pb2 import LinkStatus, Memory, RankStatus

STEP_SIGNS = "#.>="
"""Compute, wait, send, serialise."""


def lines(view: RankView, now_s: float, width: int) -> list[Line]:
    """The rank, from what it is to what it said last."""
    made = [*_identity(view, now_s)]
    if view.status is not None:
        made += _memory(view, now_s, width)
        made += _flow(view, view.status, width)
        made += _links(view)
    if view.status is not None and view.status.build:
        made += [("title", "Build"), ("text", view.status.build)]
    made += _troubles(view)
    return [(part, text[:width]) for part, text in made]


def _identity(view: RankView, now_s: float) -> Iterator[Line]:
    member, status = view.member, view.status
    part = {"bad": "bad", "busy": "culprit"}.get(tone(view), "text")
    yield part, f"Rank {member.rank}   {state_cell(view, now_s)}"
    if cause := note(view, now_s) or (status.reason if status else ""):
        yield part, cause
    skew_s = view.clock_skew_s
    # Adding zero takes the sign off a negative one.
    clock = "" if skew_s is None else f", clock {round(skew_s, 2) + 0.0:+.2f} s"
    yield "text", f"{member.host}:{member.port}, control port {member.control_port}{clock}"
    if status is None:
        return
    layers = status.layer_hi - status.layer_lo
    if layers > 0:
        yield "text", f"layers {status.layer_lo} to {status.layer_hi - 1} ({layers})"
    pid = status.worker_pid or UNKNOWN
    yield "text", f"worker {pid}, supervisor {status.supervisor_pid}, epoch {status.epoch}"
    up = duration(status.uptime_s) if status.worker_pid else UNKNOWN
    share = view.figures.telemetry
    telling = "" if share is None else f", telemetry {share:.2%}"
    restarts = _count(status.restarts, "restart")
    yield "text", f"generation {status.generation}, up {up}, {restarts}{telling}"
    if status.exit_cause:
        yield "dim", f"last end: {status.exit_cause}"
    if view.state == "LOADING" and (progress := status.progress.layers_total):
        done, total = size(status.progress.bytes_done), size(status.progress.bytes_total)
        yield "text", f"read {status.progress.layers_done} of {progress} layers, {done} of {total}"


def _memory(view: RankView, now_s: float, width: int) -> Iterator[Line]:
    memory = measured(view)
    yield "title", "Memory"
    if memory is None:
        yield "dim", UNKNOWN
        return
    if memory.limit_bytes:
        free = max(memory.limit_bytes - memory.mlx_active_bytes, 0)
        yield "text", memory_bar(view, now_s, max(min(width, 60), 1))
        yield (
            "text",
            f"{size(memory.mlx_active_bytes)} of {size(memory.limit_bytes)}, {size(free)} free",
        )
    names = ("weights", "KV", "other", "kept by MLX")
    parts = zip(BAR_SIGNS, names, memory_parts(memory), strict=True)
    yield "text", "  ".join(f"{sign} {name} {size(part)}" for sign, name, part in parts)
    yield "text", f"peak {size(memory.mlx_peak_bytes)}, process {size(memory.rss_bytes)}"
    yield from _caches(view, memory)


def _caches(view: RankView, memory: Memory) -> Iterator[Line]:
    status = view.status
    if status is None:
        return
    layers = status.layer_hi - status.layer_lo
    capacity = f" of {size(memory.kv_capacity_bytes)}" if memory.kv_capacity_bytes else ""
    each = f", {size(memory.kv_bytes / layers)} a layer" if layers > 0 else ""
    yield "text", f"KV {size(memory.kv_bytes)}{capacity}{each}"
    hits = view.figures.prefix_hits
    share = UNKNOWN if hits is None else f"{hits:.0%}"
    counters = status.counters
    yield (
        "text",
        f"prefixes {size(memory.prefix_bytes)}, hits {share}, {counters.evictions} evicted, "
        f"{_count(counters.preemptions, 'preemption')}",
    )


def _flow(view: RankView, status: RankStatus, width: int) -> Iterator[Line]:
    figures = view.figures
    yield "title", "Flow"
    yield "text", f"tokens/s in {rate(figures.tokens_in)}, out {rate(figures.tokens_out)}"
    age = milliseconds(status.last_step_age_s)
    yield "text", f"step {status.last_step}, {age} ago, batch {status.batch}"
    yield (
        "text",
        f"{status.in_flight} in flight, {status.queue_depth} waiting, "
        f"{_count(status.sequences, 'sequence')}",
    )
    spent = (
        figures.compute_step_s,
        figures.wait_step_s,
        figures.send_step_s,
        figures.serialise_step_s,
    )
    known = [value for value in spent if value is not None]
    if len(known) == len(spent) and sum(known) > 0:
        names = ("compute", "wait", "send", "pack")
        yield "title", "A step"
        cells = zip(STEP_SIGNS, known, strict=True)
        room = max(min(width, 60), 1)
        yield "bars", "".join(sign * round(room * s / sum(known)) for sign, s in cells)
        parts = zip(STEP_SIGNS, names, known, strict=True)
        yield "text", "  ".join(f"{sign} {name} {milliseconds(s)}" for sign, name, s in parts)
        if figures.bubble is not None:
            shares = f"waits {figures.wait or 0:.0%}, sends {figures.send or 0:.0%}"
            yield "text", f"bubble {figures.bubble:.0%}: {shares}"
    for name, times in (
        ("own part", figures.stage),
        ("whole step", figures.step),
        ("first token", figures.first_token),
    ):
        if times.p50_s is not None:
            yield "text", f"{name}: {_percentiles(times)}"


def _links(view: RankView) -> Iterator[Line]:
    links = view.status.links if view.status else ()
    if not links:
        return
    yield "title", "Links"
    for link in links:
        sent, received = view.figures.links.get(link.peer, (None, None))
        yield link_tone(view, link), f"to rank {link.peer}: {link.state}, {_round_trips(link)}"
        flow = f"out {size(sent)}/s, in {size(received)}/s"
        kept, lost = size(link.unacknowledged_bytes), _count(link.interruptions, "interruption")
        yield "dim", f"  {flow}, {kept} under way, {lost}"
        if link.interruptions and link.reason:
            yield "dim", f"  last trouble: {link.reason}"


def _round_trips(link: LinkStatus) -> str:
    if not link.HasField("rtt_p50_s"):
        return "round trip unknown"
    p99 = milliseconds(link.rtt_p99_s) if link.HasField("rtt_p99_s") else UNKNOWN
    return f"round trip p50 {milliseconds(link.rtt_p50_s)}, p99 {p99}"


def _troubles(view: RankView) -> Iterator[Line]:
    status = view.status
    dropped = status.counters.log_lines_dropped if status else 0
    yield "title", f"Last warnings and errors{f'; {dropped} log lines dropped' if dropped else ''}"
    for entry in reversed(view.troubles):
        clock = time.strftime("%H:%M:%S", time.localtime(entry.time_s))
        part = "culprit" if entry.level == "WARNING" else "bad"
        yield part, f"{clock} {entry.level} {entry.text}"
    if not view.troubles:
        yield "dim", "none"


def _percentiles(times: Percentiles) -> str:
    parts = (("p50", times.p50_s), ("p95", times.p95_s), ("p99", times.p99_s))
    return ", ".join(f"{name} {milliseconds(s or 0)}" for name, s in parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
