"""A step that hangs is told from one that takes long; a false alarm would cost a rank."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from daemon.engine import watchdog
from daemon.engine.step_times import FIRST_USES, KNOWN_STEPS
from daemon.engine.watchdog import LOOK_S, Hang, Watchdog, WatchedShard
from daemon.messages import Row, Step


class Stage:
    """Runs steps as the test says."""

    weights_bytes = 0

    def __init__(self, *, computes_here: bool = False) -> None:
        self.computes_here = computes_here
        self.gate = threading.Event()
        self.gate.set()

    def assign(self, lo: int, hi: int) -> None:
        """Load nothing."""

    def run(self, step: Step, hidden: Any) -> Any:
        """Wait for the gate."""
        assert self.gate.wait(10)
        return hidden


def step(number: int = 1, tokens: int = 1, *, prefill: bool = False) -> Step:
    """One row of so many tokens."""
    return Step(1, number, rows=(Row(1, tuple(range(tokens)), sample=not prefill),))


def known(slowest_token_s: float = 0.01, tokens: int = 1) -> WatchedShard:
    """A shard that has run many steps of a kind."""
    shard = WatchedShard(Stage())
    for _ in range(KNOWN_STEPS):
        seconds = slowest_token_s * tokens
        shard.times.note(step(tokens=tokens, prefill=tokens > 1), seconds, seconds)
    return shard


def seconds_until_stuck(shard: WatchedShard, busy: float, limit_s: float = 100.0) -> float:
    """How long a step of the shard may last that keeps ``busy`` cores busy."""
    hang = Hang(shard, 60.0)
    hang.look(0.0, idle=busy == 0)
    for looks in range(1, int(limit_s / LOOK_S)):
        if hang.look(busy * LOOK_S, idle=busy == 0):
            return looks * LOOK_S
    raise AssertionError("never stuck")


def test_an_idle_process_in_a_step_is_stuck_soon() -> None:
    """A lock that nobody gives back: within 3 s, as for a stopped process."""
    shard = known()
    shard.step = step()
    assert seconds_until_stuck(shard, busy=0) == 2.5


@pytest.mark.parametrize(("busy", "seconds"), [(1, 2.0), (2, 2.0), (0.5, 4.0), (0.2, 10.0)])
def test_an_endless_loop_is_stuck_once_it_has_computed_too_much(
    busy: float, seconds: float
) -> None:
    """A process that shares its core with others is given the same work, not the same time."""
    shard = known()
    shard.step = step()
    assert seconds_until_stuck(shard, busy) == seconds


@pytest.mark.parametrize(("slowest_s", "seconds"), [(0.5, 4.0), (1.0, 8.0), (20.0, 30.0)])
def test_long_honest_work_is_given_the_time_it_needs(slowest_s: float, seconds: float) -> None:
    """A large model on a slow machine: eight times what such a step ever took."""
    shard = known(slowest_s)
    shard.step = step()
    assert seconds_until_stuck(shard, busy=1) == seconds


def test_a_first_use_may_compile_its_kernels() -> None:
    """A long prompt after many short steps: its kernels are new, and its kind is not known."""
    shard = known()
    shard.step = step(tokens=256, prefill=True)
    assert seconds_until_stuck(shard, busy=0) == 30.0
    assert seconds_until_stuck(shard, busy=1) == 20.5  # 8 x 256 x 0.01, by looks
    for seconds in (20.0, 0.5, 0.5, 0.5):  # the first one compiled
        shard.times.note(shard.step, seconds, seconds)
    assert FIRST_USES == 3
    assert seconds_until_stuck(shard, busy=1) == 4.0


def test_a_bad_moment_is_forgotten() -> None:
    """One step that swapped must not make every later hang last for half a minute."""
    shard = known()
    shard.step = step()
    shard.times.note(shard.step, 2.0, 2.0)
    assert seconds_until_stuck(shard, busy=0) == 30.0
    for _ in range(64):
        shard.times.note(shard.step, 0.01, 0.01)
    assert seconds_until_stuck(shard, busy=0) == 2.5


@pytest.mark.parametrize(("tokens", "slowest_s", "patience_s"), [(1, 0.5, 10.0), (256, 0.01, 30.0)])
def test_a_slow_model_or_a_long_chunk_is_given_more(
    tokens: int, slowest_s: float, patience_s: float
) -> None:
    """On a GPU the process is idle while it computes."""
    shard = known(slowest_s, tokens)
    shard.step = step(tokens=tokens, prefill=tokens > 1)
    assert seconds_until_stuck(shard, busy=0) == patience_s


def test_first_steps_may_take_long() -> None:
    """Nothing is known yet, and kernels are compiled: idle for long, computing for seconds."""
    shard = WatchedShard(Stage())
    shard.step = step()
    assert seconds_until_stuck(shard, busy=0) == 30.0
    assert seconds_until_stuck(shard, busy=1) == 5.0


def test_first_steps_of_a_process_that_computes_itself_may_not_be_idle_for_long() -> None:
    """A client once waited half a minute for a young worker that waited for a lock."""
    shard = WatchedShard(Stage(computes_here=True))
    shard.assign(0, 4)
    shard.step = step()
    assert seconds_until_stuck(shard, busy=0) == 5.0
    for _ in range(KNOWN_STEPS):
        shard.times.note(shard.step, 0.01, 0.01)
    assert seconds_until_stuck(shard, busy=0) == 2.5


def test_other_layers_have_other_times() -> None:
    """A rank that takes a lost one's layers computes twice as much; the same layers stay known."""
    shard = known()
    shard.step = step()
    shard.assign(0, 4)
    assert seconds_until_stuck(shard, busy=1) == 5.0
    for _ in range(KNOWN_STEPS):
        shard.times.note(shard.step, 0.01, 0.01)
    shard.assign(0, 4)
    assert seconds_until_stuck(shard, busy=1) == 2.0


def test_steps_that_follow_each_other_are_no_hang() -> None:
    """Looks may fall into different steps every time."""
    shard = known()
    hang = Hang(shard, 60.0)
    for number in range(1000):
        shard.step = step(number)
        assert hang.look(1.0, idle=True) == ""
    shard.step = None
    assert not any(hang.look(1.0, idle=True) for _ in range(1000))


def test_a_step_is_seen_and_timed() -> None:
    """Also when it fails."""
    shard = WatchedShard(Stage())
    assert shard.run(step(), "hidden") == "hidden"
    assert shard.step is None
    for _ in range(KNOWN_STEPS):
        shard.run(step(), None)
    assert shard.times.patience(step(), 30.0).cpu_s == 2.0


def test_the_thread_tells_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the thread that hangs, nothing more can be done."""
    monkeypatch.setattr(watchdog, "LOOK_S", 0.005)
    monkeypatch.setattr(watchdog, "IDLE_SHARE", 1e9)
    stage, told = Stage(), threading.Event()
    shard = WatchedShard(stage)
    for number in range(KNOWN_STEPS):
        shard.run(step(number), None)
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
