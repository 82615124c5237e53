"""A capsule of a real cluster whose rank 1 was killed under load: what it shows, for all time."""

from __future__ import annotations

from pathlib import Path

from mlxconsole.alerts import Alerts
from mlxconsole.recording import reading
from mlxconsole.store import Store

FIXTURE = Path(__file__).parents[2] / "fixtures" / "rank-kill.mlxrec"


class Clock:
    """The recording's seconds."""

    now_s = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


def test_the_kill_is_seen_with_its_cause_and_its_end() -> None:
    """Down by SIGKILL, alert, back in generation 2, and tokens flow again."""
    clock, states = Clock(), list[str]()
    causes, rates = set[str](), list[tuple[str, float]]()
    with reading.opened(FIXTURE) as recording:
        store = Store(recording.header.cluster, clock)
        alerts = Alerts(store)
        for update in recording.updates:
            clock.now_s = update.at_s
            store.apply(update)
            alerts.look()
            view = store.ranks[1]
            if not states or states[-1] != view.state:
                states.append(view.state)
            causes.add(view.status.exit_cause if view.status else "")
            rates.append((view.state, store.tokens_per_s(clock.now_s) or 0.0))
    reached = [state for state in states if state in {"READY", "DOWN", "STARTING", "LOADING"}]
    assert reached[0] == reached[-1] == "READY"
    assert "STARTING" in states or "DOWN" in states
    assert "killed by signal 9 (SIGKILL)" in causes
    assert store.ranks[1].status is not None
    assert store.ranks[1].status.generation == 2
    assert max(rate for state, rate in rates[: len(rates) // 4] if state == "READY") > 5
    assert rates[-1][1] > 5
    told = [e.text for e in map(store.events.get, range(store.events.end)) if e is not None]
    assert any("killed by signal 9" in text for text in told)
