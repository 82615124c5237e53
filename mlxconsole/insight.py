"""From the store to the modules that judge: paces of ranks, memory, lines that divide the ranks.

Pure; reads the store's shown moment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlxconsole.memory_forecast import Forecast, MemoryNow, RequestNow, forecast
from mlxconsole.odd_one_out import Oddity, odd_ones_out
from mlxconsole.rank_window import UNKNOWN
from mlxconsole.why_slow import Diagnosis, RankPace, diagnose

if TYPE_CHECKING:
    from mlxconsole.log_entry import LogEntry
    from mlxconsole.store import RankView, Store

ODD_WINDOW_S = 300.0
ODD_GRACE_S = 5.0
"""What one rank printed just now the others may be about to print."""
ODD_LINES = 5_000


def paces(store: Store) -> list[RankPace]:
    """Ranks that ran steps in the last seconds, in the order of their layers."""
    found: list[RankPace] = []
    for view in store.shown.values():
        figures, status = view.figures, view.status
        if status is None or figures.compute_step_s is None or figures.bubble is None:
            continue
        layers = max(status.layer_hi - status.layer_lo, 0)
        found.append(
            RankPace(
                rank=view.member.rank,
                layers=layers,
                compute_s=figures.compute_step_s,
                busy=1 - figures.bubble,
                wait_s=figures.wait_step_s or 0.0,
                hop_s=_hop_s(view, len(store.ranks)),
                layer_bytes=status.memory.weights_bytes // layers if layers else 0,
                room_bytes=_room(view),
            )
        )
    return found


def why(store: Store) -> Diagnosis:
    """What sets the cluster's pace, or why nothing comes although somebody waits."""
    tokens_per_s = store.tokens_per_s(store.shown_at_s()) or 0.0
    found = diagnose(paces(store), tokens_per_s, _in_flight(store))
    stalled = _stalled(store) if found.kind == "idle" else ""
    return replace(found, sentences=(stalled,)) if stalled else found


def _stalled(store: Store) -> str:
    """Whom waiting requests wait for; empty if there are none."""
    first = store.shown[0].status if 0 in store.shown else None
    waiting = first.sequences + first.queue_depth if first else 0
    if not waiting:
        return ""
    absent = [
        f"rank {rank} " + (f"is {view.state}" if view.contact == "live" else "does not answer")
        for rank, view in store.shown.items()
        if view.contact != "live" or view.state != "READY"
    ]
    reason = ", ".join(absent) or "all ranks are READY; see the log of rank 0"
    requests = "1 request waits" if waiting == 1 else f"{waiting} requests wait"
    return f"No token comes, and {requests}: {reason}."


def _in_flight(store: Store) -> float:
    """Steps under way at a time: how long one takes, times how many there are (Little's law)."""
    figures = store.shown[0].figures if 0 in store.shown else UNKNOWN
    if not (figures.step.p50_s and figures.compute_step_s and figures.bubble is not None):
        return 1.0
    steps_per_s = (1 - figures.bubble) / figures.compute_step_s
    return max(figures.step.p50_s * steps_per_s, 1.0)


def memory(store: Store) -> list[Forecast]:
    """How full the ranks will be, the soonest full first."""
    ranks = [
        MemoryNow(
            view.member.rank,
            view.status.memory.mlx_active_bytes,
            view.status.memory.limit_bytes,
            view.status.memory.kv_bytes,
            view.status.memory.kv_capacity_bytes,
        )
        for view in store.shown.values()
        if view.status is not None and view.contact == "live"
    ]
    admitted = [
        RequestNow(row.prompt_tokens, row.generated_tokens, row.max_tokens)
        for row in store.shown_requests.rows
        if row.state in {"prefill", "decode"}
    ]
    return forecast(ranks, admitted, store.tokens_per_s(store.shown_at_s()) or 0.0)


def odd(store: Store) -> list[Oddity]:
    """Lines that divide the ranks, of the last minutes."""
    recent = _recent(store)
    newest_s = max((entry.time_s for entry in recent), default=0.0)
    return odd_ones_out(recent, store.ranks, newest_s - ODD_WINDOW_S, newest_s - ODD_GRACE_S)


def _recent(store: Store) -> list[LogEntry]:
    past = store.timeline.shown
    end = past.log_end if past else store.log.end
    return store.log.between(end - ODD_LINES, end, ready=True)


def _hop_s(view: RankView, ranks: int) -> float:
    figures, status = view.figures, view.status
    if status is None or ranks < 2:
        return 0.0
    following = (view.member.rank + 1) % ranks
    trips = [link.rtt_p50_s for link in status.links if link.peer == following and link.rtt_p50_s]
    own_s = (figures.send_step_s or 0.0) + (figures.serialise_step_s or 0.0)
    return own_s + (trips[0] / 2 if trips else 0.0)


def _room(view: RankView) -> int | None:
    memory = view.status.memory if view.status else None
    if memory is None or not memory.limit_bytes:
        return None
    return max(memory.limit_bytes - memory.mlx_active_bytes, 0)
