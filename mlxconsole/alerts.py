"""What needs an operator: rules over the store that raise and clear alerts.

Pure; the store's clock is the only one. Whoever paints calls `look` before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlxconsole.units import duration

if TYPE_CHECKING:
    from mlxconsole.store import RankView, Store

SILENT_S = 2.0
"""Frames come every 250 ms."""
STUCK_S = 10.0
"""Without a step while sequences live. One step of a large model on a slow machine takes seconds:
an alert that cries at those would be ignored."""
MEMORY_RAISE, MEMORY_CLEAR = 0.90, 0.85
SKEW_RAISE_S, SKEW_CLEAR_S = 2.0, 1.0
"""Lines of ranks are merged by their own clocks: with more, the log's order misleads."""
FIRST_TOKEN_RAISE_S, FIRST_TOKEN_CLEAR_S = 10.0, 5.0
LOOP_RESTARTS, LOOP_S = 3, 120.0


RULES = ("down", "silent", "stuck", "memory", "restarts", "clock", "first token")


@dataclass(slots=True)
class _Watched:
    """What the rules remember of one rank."""

    steps: tuple[str, int] = ("", -1)
    """boot_id and steps when the rank last got on."""
    got_on_at_s: float = 0.0
    restarts: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=256))


class Alerts:
    """The alerts that hold now; changes are recorded in the store's events."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._watched = {rank: _Watched() for rank in store.ranks}
        self.active: dict[tuple[int, str], str] = {}
        """By rank and rule: what is wrong, in words."""

    def look(self) -> None:
        """Apply every rule to every rank."""
        now_s = self._store.clock()
        for rank, view in self._store.ranks.items():
            found = self._found(view, self._watched[rank], now_s)
            for rule in RULES:
                self._settle(rank, rule, found.get(rule))

    def _settle(self, rank: int, rule: str, text: str | None) -> None:
        key = (rank, rule)
        if text and key not in self.active:
            self._store.event(rank, "alert", text, "ERROR" if rule == "down" else "WARNING")
        elif not text and key in self.active:
            self._store.event(rank, "alert over", self.active[key], "INFO")
        if text:
            self.active[key] = self.active.get(key, text)
        else:
            self.active.pop(key, None)

    def _found(self, view: RankView, watched: _Watched, now_s: float) -> dict[str, str]:
        status, found = view.status, dict[str, str]()
        if view.contact == "lost":
            found["down"] = f"rank {view.member.rank}: no contact: {view.reason}"
        if status is None or view.contact != "live":
            return found
        who = f"rank {status.rank}"
        if view.state in {"DOWN", "FAILED"}:
            found["down"] = f"{who} is {view.state}: {status.exit_cause or 'no cause known'}"
        if now_s - view.seen_at_s > SILENT_S:
            found["silent"] = f"{who} has not been heard of for over {duration(SILENT_S)}"
        if self._stuck(view, watched, now_s):
            found["stuck"] = f"{who} has live sequences and no step for over {duration(STUCK_S)}"
        memory = status.memory
        share = memory.mlx_active_bytes / memory.limit_bytes if memory.limit_bytes else 0.0
        if self._is_over(status.rank, "memory", share, MEMORY_RAISE, MEMORY_CLEAR):
            found["memory"] = f"{who} uses {share:.0%} of its memory"
        found |= self._slow_or_off(view, status.rank, who)
        watched.restarts.append((now_s, status.restarts))
        while watched.restarts[0][0] < now_s - LOOP_S:
            watched.restarts.popleft()
        if status.restarts - watched.restarts[0][1] >= LOOP_RESTARTS:
            found["restarts"] = f"{who} restarts again and again: {status.exit_cause}"
        return found

    def _slow_or_off(self, view: RankView, rank: int, who: str) -> dict[str, str]:
        found = dict[str, str]()
        skew_s = abs(view.clock_skew_s or 0.0)
        if self._is_over(rank, "clock", skew_s, SKEW_RAISE_S, SKEW_CLEAR_S):
            found["clock"] = f"{who}: its clock is {skew_s:.1f} s off ours"
        first_s = view.figures.first_token.p95_s or 0.0
        if self._is_over(rank, "first token", first_s, FIRST_TOKEN_RAISE_S, FIRST_TOKEN_CLEAR_S):
            found["first token"] = (
                f"one request in twenty waits {first_s:.0f} s for its first token"
            )
        return found

    def _is_over(self, rank: int, rule: str, value: float, above: float, until: float) -> bool:
        """With hysteresis: raised above one bound, over under a lower one."""
        return value > (until if (rank, rule) in self.active else above)

    @staticmethod
    def _stuck(view: RankView, watched: _Watched, now_s: float) -> bool:
        status = view.status
        if status is None:
            return False
        steps = (status.boot_id, status.counters.steps)
        if steps != watched.steps or view.state != "READY" or not status.sequences:
            watched.steps, watched.got_on_at_s = steps, now_s
        return now_s - watched.got_on_at_s > STUCK_S
