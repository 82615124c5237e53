"""A step that hangs is told from one that takes long; a false alarm would cost a rank."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from daemon.engine import watchdog
from daemon.engine.watchdog import KNOWN_STEPS, LOOK_S, Hang, Watchdog, WatchedShard
from daemon.messages import Row, Step


class Stage:
    """Runs steps as the test says."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def assign(self, lo: int, hi: int) -> None:
        """Load nothing."""

    def run(self, step: Step, hidden: Any) -> Any:
        """Wait for the gate."""
        assert self.gate.wait(10)
        return hidden


def step(number: int = 1, tokens: int = 1) -> Step:
    """One row of so many tokens."""
    return Step(1, number, rows=(Row(1, tuple(range(tokens)), sample=True),))


def known(slowest_token_s: float = 0.01) -> WatchedShard:
    """A shard that has run many steps."""
    shard = WatchedShard(Stage())
    shard.steps, shard.slowest_token_s = KNOWN_STEPS, slowest_token_s
    return shard


def seconds_until_stuck(shard: WatchedShard, *, idle: bool, limit_s: float = 100.0) -> float:
    """How long a step of the shard may last."""
    hang = Hang(shard, 60.0)
    hang.look(idle=idle)
    for looks in range(1, int(limit_s / LOOK_S)):
        if hang.look(idle=idle):
            return looks * LOOK_S
    raise AssertionError("never stuck")


def test_an_idle_process_in_a_step_is_stuck_soon() -> None:
    """A lock that nobody gives back: within 3 s, as for a stopped process."""
    shard = known()
    shard.step = step()
    assert seconds_until_stuck(shard, idle=True) == 2.5


def test_a_busy_process_is_given_the_time_of_the_leader() -> None:
    """It may be compiling a kernel, or be starved by others."""
    shard = known()
    shard.step = step()
    assert seconds_until_stuck(shard, idle=False) == 54.0


@pytest.mark.parametrize(("tokens", "slowest_s", "patience_s"), [(1, 0.5, 10.0), (256, 0.01, 30.0)])
def test_a_slow_model_or_a_long_chunk_is_given_more(
    tokens: int, slowest_s: float, patience_s: float
) -> None:
    """On a GPU the process is idle while it computes."""
    shard = known(slowest_s)
    shard.step = step(tokens=tokens)
    assert seconds_until_stuck(shard, idle=True) == patience_s


def test_first_steps_may_take_long() -> None:
    """Nothing is known yet, and kernels are compiled."""
    shard = WatchedShard(Stage())
    shard.step = step()
    assert seconds_until_stuck(shard, idle=True) == 30.0


def test_steps_that_follow_each_other_are_no_hang() -> None:
    """Looks may fall into different steps every time."""
    shard = known()
    hang = Hang(shard, 60.0)
    for number in range(1000):
        shard.step = step(number)
        assert hang.look(idle=True) == ""
    shard.step = None
    assert not any(hang.look(idle=True) for _ in range(1000))


def test_the_slowest_step_is_remembered_per_token() -> None:
    """Also when it fails."""
    stage = Stage()
    shard = WatchedShard(stage)
    assert shard.run(step(), "hidden") == "hidden"
    stage.gate.clear()
    threading.Timer(0.2, stage.gate.set).start()
    shard.run(step(tokens=2), None)
    assert 0.05 < shard.slowest_token_s < 5.0
    assert (shard.steps, shard.step) == (2, None)


def test_the_thread_tells_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the thread that hangs, nothing more can be done."""
    monkeypatch.setattr(watchdog, "LOOK_S", 0.005)
    monkeypatch.setattr(watchdog, "IDLE_SHARE", 1e9)
    stage, told = Stage(), threading.Event()
    shard = WatchedShard(stage)
    shard.steps = KNOWN_STEPS
    reasons: list[str] = []

    def on_stuck(reason: str) -> None:
        reasons.append(reason)
        told.set()

    dog = Watchdog(shard, 0.1, on_stuck)
    dog.start()
    stage.gate.clear()
    hanging = threading.Thread(target=shard.run, args=(step(7), None))
    hanging.start()
    assert told.wait(10)
    stage.gate.set()
    hanging.join()
    dog.stop()
    assert reasons == ["step 7 hangs: nothing was computed for 0.05 s"]


def test_a_watchdog_that_is_stopped_looks_no_more() -> None:
    """At the end of a worker, started or not."""
    dog = Watchdog(WatchedShard(Stage()), 60.0, pytest.fail)
    dog.stop()
    dog = Watchdog(WatchedShard(Stage()), 60.0, pytest.fail)
    began_s = time.monotonic()
    dog.start()
    dog.stop()
    assert time.monotonic() - began_s < 5.0
