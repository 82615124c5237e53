"""What the columns of the rank table read of a rank: a number or a word, None where unknown.

Pure; `rank_columns` turns them into text and sorts by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from mlxconsole.ui.braille import bars
from mlxconsole.units import UNKNOWN

if TYPE_CHECKING:
    from mlxconsole.rank_window import RankFigures
    from mlxconsole.store import RankView
    from protos.control_pb2 import LinkStatus, Memory, RankStatus

Value = Callable[["RankView", float], float | str | None]
"""Of a rank at a moment on the store's clock."""
BAR_WIDTH = 8
BAR_SIGNS = "#=-."
"""Weights, KV, what else MLX holds, what it keeps for reuse."""


def severity(view: RankView) -> int:
    """How much a rank needs somebody: 2 down or lost, 1 on its way, 0 at work."""
    if view.contact == "lost" or view.state in {"DOWN", "FAILED"}:
        return 2
    return 0 if view.state == "READY" else 1


def memory_share(view: RankView) -> float | None:
    """Of its limit in use, 0 to 1; None if unknown."""
    memory = measured(view) if view.contact == "live" else None
    return memory.mlx_active_bytes / memory.limit_bytes if memory and memory.limit_bytes else None


def measured(view: RankView) -> Memory | None:
    """The memory that a worker has told of; None without one."""
    status = view.status
    if status is None or not status.HasField("memory") or not status.worker_pid:
        return None
    memory = status.memory  # a worker that has not measured yet sends zeros
    return memory if memory.limit_bytes or memory.mlx_active_bytes else None


def memory_parts(memory: Memory) -> tuple[int, int, int, int]:
    """Bytes of weights, KV, what else is alive in MLX, and what MLX keeps for reuse."""
    other = memory.mlx_active_bytes - memory.weights_bytes - memory.kv_bytes
    return memory.weights_bytes, memory.kv_bytes, max(other, 0), memory.mlx_cache_bytes


def memory_bar(view: RankView, _now_s: float, width: int = BAR_WIDTH) -> str:
    """How the limit is used, a sign for each part; what is there at all has a cell."""
    memory = measured(view)
    if memory is None or not memory.limit_bytes:
        return UNKNOWN
    cells = [
        max(round(width * part / memory.limit_bytes), int(part * width * 8 > memory.limit_bytes))
        for part in memory_parts(memory)
    ]
    cells[0] = max(cells[0], int(memory.weights_bytes > 0))
    used = "".join(sign * count for sign, count in zip(BAR_SIGNS, cells, strict=True))
    return used[:width].ljust(width, "_")


def trend(view: RankView, _now_s: float, width: int = BAR_WIDTH) -> str:
    """Tokens per second of the last seconds, two to a cell."""
    known = [value for value in view.recent if value is not None]
    return bars(view.recent, width, 1, max(known))[0] if known else UNKNOWN


def memory(key: str) -> Value:
    """One field of the memory."""

    def value(view: RankView, _now_s: float) -> float | None:
        found = measured(view)
        return getattr(found, key) if found else None

    return value


def of_status(read: Callable[[RankStatus], float]) -> Value:
    """Something that only a worker can tell."""

    def value(view: RankView, _now_s: float) -> float | None:
        return read(view.status) if view.status and view.status.worker_pid else None

    return value


def figure(read: Callable[[RankFigures], float | None]) -> Value:
    """One figure of the last seconds."""
    return lambda view, _now_s: read(view.figures)


def layers(view: RankView, _now_s: float) -> int | None:
    """The first of its layers."""
    status = view.status
    return status.layer_lo if status and status.layer_hi > status.layer_lo else None


def tokens_per_s(view: RankView, now_s: float) -> float | None:
    """Nothing flows to us without contact."""
    return view.tokens_out.per_second(now_s) if view.contact == "live" else None


def uptime_s(view: RankView, now_s: float) -> float | None:
    """Of the worker; it goes on between frames."""
    status = view.status
    if status is None or not status.worker_pid:
        return None
    return status.uptime_s + (now_s - view.seen_at_s if view.contact == "live" else 0)


def next_link(view: RankView) -> LinkStatus | None:
    """The link to the rank that gets this one's results."""
    status = view.status
    if status is None or view.contact != "live":
        return None
    after = [link for link in status.links if link.peer > status.rank]
    return min(after or status.links, key=lambda each: each.peer, default=None)


def link_s(percentile: Literal["rtt_p50_s", "rtt_p99_s"]) -> Value:
    """Round trip to the rank that gets this one's results."""

    def value(view: RankView, _now_s: float) -> float | None:
        link = next_link(view)
        return getattr(link, percentile) if link and link.HasField(percentile) else None

    return value


def kv_share(view: RankView, _now_s: float) -> float | None:
    """How full the caches are, where they have a bound."""
    found = measured(view)
    return found.kv_bytes / found.kv_capacity_bytes if found and found.kv_capacity_bytes else None
