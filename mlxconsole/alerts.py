"""What needs an operator: the alerts that hold now, with hysteresis and acknowledgement.

Pure; the store's clock is the only one. Whoever paints calls `look` before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlxconsole import alert_rules
from mlxconsole.alert_settings import AlertSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlxconsole.store import RankView, Store

EVERY_S = 1.0
"""A rank whose state has not changed is looked at so often: 64 of them cost something."""
Key = tuple[int, str]
"""Rank and rule."""


@dataclass(slots=True)
class Alert:
    """Something that needs somebody."""

    text: str
    seen: bool = False
    """Whether the operator has said so."""


class Alerts:
    """The alerts that hold now; changes are recorded in the store's events."""

    def __init__(
        self, store: Store, settings: AlertSettings | None = None, every_s: float = EVERY_S
    ) -> None:
        self._store, self._every_s = store, every_s
        self.settings = settings or AlertSettings()
        self.active: dict[Key, Alert] = {}
        self.on_new: Callable[[str], None] = lambda _text: None
        """Called with the words of every new alert."""
        self._past = {rank: alert_rules.Past(_near(rank, store)) for rank in store.ranks}
        self._looked: dict[int, tuple[float, str, str]] = {}
        self._since: dict[Key, float] = {}
        """When a value that is not told of yet came over its bound."""

    @property
    def fresh(self) -> int:
        """Alerts that nobody has acknowledged."""
        return sum(not alert.seen for alert in self.active.values())

    def look(self) -> None:
        """Apply every rule to every rank."""
        now_s = self._store.clock()
        for rank, view in self._store.ranks.items():
            looked_s, contact, state = self._looked.get(rank, (float("-inf"), "", ""))
            same = (contact, state) == (view.contact, view.state)
            if not same or not 0 <= now_s - looked_s < self._every_s:
                self._looked[rank] = (now_s, view.contact, view.state)
                self._look_at(rank, view, now_s)

    def acknowledge(self) -> int:
        """The operator has seen them all; how many were new."""
        new = [alert for alert in self.active.values() if not alert.seen]
        for alert in new:
            alert.seen = True
            self._store.note(f"acknowledged: {alert.text}", "INFO")
        return len(new)

    def _look_at(self, rank: int, view: RankView, now_s: float) -> None:
        rules = self.settings.rules
        findings = alert_rules.found(view, self._past[rank], now_s, rules)
        for rule, bounds in rules.items():
            key, finding = (rank, rule), findings.get(rule)
            if not bounds.enabled or finding is None:
                self._since.pop(key, None)
                self._clear(key)
                continue
            value, text = finding
            if key in self.active:
                if value < bounds.cleared_below:
                    self._clear(key)
            elif value < bounds.raised_at:
                self._since.pop(key, None)
            elif now_s - self._since.setdefault(key, now_s) >= bounds.for_s:
                self._raise(key, text)

    def _raise(self, key: Key, text: str) -> None:
        rank, rule = key
        self.active[key] = Alert(text)
        self._store.event(rank, "alert", text, "ERROR" if rule == "down" else "WARNING")
        self.on_new(text)

    def _clear(self, key: Key) -> None:
        alert = self.active.pop(key, None)
        if alert is not None:
            self._since.pop(key, None)
            self._store.event(key[0], "alert over", alert.text, "INFO")


def _near(rank: int, store: Store) -> frozenset[int]:
    """The other ranks of its machine."""
    host = store.ranks[rank].member.host
    same = (view.member.rank for view in store.ranks.values() if view.member.host == host)
    return frozenset(same) - {rank}
