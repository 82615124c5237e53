"""Every rule about when a child is started, left alone, ended and given up; without a process."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.supervision.child_life import (
    ChildLife,
    Decision,
    DelayOver,
    End,
    Exited,
    GiveUp,
    GraceOver,
    Kill,
    LifeEvent,
    Phase,
    Reported,
    RestartAsked,
    RestartPolicy,
    Spawn,
    SpawnFailed,
    Start,
    StopAsked,
    Stuck,
    Terminate,
    Wait,
    advance,
)

POLICY = RestartPolicy(delay_s=0.25, max_delay_s=10.0, stable_after_s=30.0, max_quick_deaths=4)
NEW = ChildLife(POLICY)


class Tape:
    """A life, played event by event."""

    def __init__(self, life: ChildLife = NEW) -> None:
        self.life = life

    def play(self, event: LifeEvent, at_s: float = 0.0) -> tuple[Decision, ...]:
        """What is decided when ``event`` happens at ``at_s``."""
        self.life, decisions = advance(self.life, event, at_s)
        return decisions

    def run_until_ready(self, at_s: float = 0.0) -> None:
        """Start the first process and let it become READY."""
        self.play(Start(), at_s)
        self.play(Reported("READY"), at_s)


def test_the_states_of_a_normal_start() -> None:
    """People see STARTING until the child speaks, then what it says."""
    tape = Tape()
    assert tape.life.state == "STARTING"
    assert tape.play(Start()) == (Spawn(1),)
    assert tape.life.state == "STARTING"
    for state in ("JOINING", "LOADING", "READY"):
        assert tape.play(Reported(state)) == ()
        assert tape.life.state == state
    assert tape.life.restarts == 0


def test_a_second_start_changes_nothing() -> None:
    """There is never more than one process."""
    tape = Tape()
    tape.play(Start())
    assert tape.play(Start()) == ()
    assert tape.life.generation == 1


def test_a_ready_child_that_lived_longer_than_the_delay_is_back_at_once() -> None:
    """A kill of a working rank costs its clients as little as possible."""
    tape = Tape()
    tape.run_until_ready()
    assert tape.play(Exited("killed"), 5.0) == (Wait(0.0, 1),)
    assert tape.life.state == "DOWN"
    assert tape.life.exit_cause == "killed"
    assert tape.play(DelayOver(1), 5.0) == (Spawn(2),)
    assert tape.life.restarts == 1


def test_starts_keep_their_distance() -> None:
    """The delay counts from the last start."""
    tape = Tape()
    tape.run_until_ready()
    [wait] = tape.play(Exited("killed"), 0.1)
    assert isinstance(wait, Wait)
    assert wait.delay_s == pytest.approx(0.15)


def test_deaths_before_ready_double_the_delay_and_then_give_up() -> None:
    """A model that can't load must not burn the machine for ever."""
    tape = Tape()
    tape.play(Start())
    delays: list[float] = []
    for generation in range(1, 4):
        [wait] = tape.play(Exited("exit code 1"))
        assert isinstance(wait, Wait)
        delays.append(wait.delay_s)
        tape.play(DelayOver(generation))
    assert delays == [0.25, 0.5, 1.0]
    assert tape.play(Exited("exit code 1")) == (GiveUp("exit code 1"),)
    assert tape.life.state == "FAILED"
    assert tape.life.exit_cause == "exit code 1"


def test_becoming_ready_forgives_earlier_deaths() -> None:
    """Giving up is for children that never work."""
    tape = Tape()
    tape.play(Start())
    for generation in range(1, 20):
        if generation % 3 == 0:
            tape.play(Reported("READY"))
        [wait] = tape.play(Exited("odd"))
        assert isinstance(wait, Wait)
        tape.play(DelayOver(generation))


def test_a_child_that_becomes_ready_and_dies_again_and_again_slows_down() -> None:
    """The first few are free, for chaos tests and unlucky days; a loop is not."""
    tape = Tape()
    tape.play(Start())
    delays: list[float] = []
    for generation in range(1, 15):
        tape.play(Reported("READY"))
        [wait] = tape.play(Exited("poisoned"))
        assert isinstance(wait, Wait)
        delays.append(wait.delay_s)
        tape.play(DelayOver(generation))
    assert delays[:5] == [0.25, 0.25, 0.25, 0.25, 0.5]
    assert delays[-1] == 1.0  # everybody waits for it: no crawl for what can work


def test_a_long_life_without_ready_forgives_too() -> None:
    """A rank that waits for its peers for an hour does no harm."""
    tape = Tape()
    tape.play(Start())
    for generation in range(1, 10):
        assert tape.play(Exited("killed"), generation * 100.0) == (Wait(0.0, generation),)
        tape.play(DelayOver(generation), generation * 100.0)


def test_a_hopeless_end_gives_up_at_once() -> None:
    """Restarting will not repair a model folder."""
    tape = Tape()
    tape.play(Start())
    tape.play(Reported("FAILED"))
    assert tape.life.state == "FAILED"
    assert tape.play(Exited("no model", hopeless=True)) == (GiveUp("no model"),)
    assert tape.life.state == "FAILED"


def test_an_operator_can_restart_what_was_given_up() -> None:
    """The operator may have repaired the cause, so the past no longer counts."""
    tape = Tape()
    tape.play(Start())
    tape.play(Exited("no model", hopeless=True))
    assert tape.play(RestartAsked("repaired", 3.0), 9.0) == (Spawn(2),)
    assert tape.life.barren_deaths == 0
    assert tape.life.state == "STARTING"


def test_an_operator_need_not_wait_for_a_delay() -> None:
    """And the timer that still runs starts no second process."""
    tape = Tape()
    tape.play(Start())
    tape.play(Exited("killed"))
    assert tape.play(RestartAsked("now", 3.0)) == (Spawn(2),)
    assert tape.play(DelayOver(1)) == ()


def test_a_restart_ends_the_child_in_order_and_starts_the_next() -> None:
    """The child gets SIGTERM and its grace; the next starts when it is gone."""
    tape = Tape()
    tape.run_until_ready()
    assert tape.play(RestartAsked("by ann", 3.0)) == (Terminate(3.0, 1),)
    assert tape.life.state == "DRAINING"
    assert tape.play(RestartAsked("by bob", 3.0)) == ()
    assert tape.play(Exited("exit code 0")) == (Spawn(2),)
    assert tape.life.exit_cause == "by ann: exit code 0"


def test_a_child_that_does_not_leave_is_killed_when_its_grace_is_over() -> None:
    """A wedged worker must not hold up an operator."""
    tape = Tape()
    tape.run_until_ready()
    tape.play(RestartAsked("", 3.0))
    assert tape.play(GraceOver(1)) == (Kill(),)
    assert tape.play(Exited("killed by signal 9 (SIGKILL)")) == (Spawn(2),)
    assert tape.life.exit_cause == "killed by signal 9 (SIGKILL)"
    assert tape.play(GraceOver(1)) == ()


def test_a_stop_ends_everything() -> None:
    """No process is started after a stop."""
    tape = Tape()
    tape.run_until_ready()
    assert tape.play(StopAsked(3.0)) == (Terminate(3.0, 1),)
    assert tape.play(RestartAsked("too late", 3.0)) == ()
    assert tape.play(Exited("exit code 0")) == (End(),)
    assert tape.life.state == "DOWN"
    assert tape.life.exit_cause == "shut down: exit code 0"
    for event in (Start(), RestartAsked("", 1.0), DelayOver(1), StopAsked(1.0)):
        assert tape.play(event) == ()


def test_a_stop_overtakes_a_restart() -> None:
    """Ctrl-C during a restart must not wait for the next worker."""
    tape = Tape()
    tape.run_until_ready()
    tape.play(RestartAsked("", 60.0))
    assert tape.play(StopAsked(3.0)) == (Terminate(3.0, 1),)
    assert tape.play(Exited("exit code 0")) == (End(),)


@pytest.mark.parametrize("prelude", [[], [Start(), Exited("x")], [Start(), Exited("x", True)]])
def test_a_stop_without_a_process_ends_at_once(prelude: list[LifeEvent]) -> None:
    """Before the start, while waiting, and after giving up."""
    tape = Tape()
    for event in prelude:
        tape.play(event)
    assert tape.play(StopAsked(3.0)) == (End(),)


def test_an_impatient_stop_kills() -> None:
    """The second Ctrl-C."""
    tape = Tape()
    tape.run_until_ready()
    tape.play(StopAsked(3.0))
    assert tape.play(StopAsked(0.0)) == (Kill(ordered=True),)


def test_a_failed_spawn_counts_as_a_death() -> None:
    """No file descriptors left now, perhaps some in a moment."""
    tape = Tape()
    tape.play(Start())
    assert tape.play(SpawnFailed("can't start")) == (Wait(0.25, 1),)
    assert tape.life.exit_cause == "can't start"


def test_a_report_of_a_dead_process_is_ignored() -> None:
    """The pipe may be read after the end."""
    tape = Tape()
    tape.run_until_ready()
    tape.play(Exited("killed"))
    before = tape.life
    tape.play(Reported("READY"))
    assert tape.life == before


def test_the_delay_has_a_bound_however_many_deaths() -> None:
    """An exponent must not overflow."""
    life = replace(NEW, policy=replace(POLICY, max_quick_deaths=10**6), barren_deaths=5000)
    tape = Tape(life)
    tape.play(Start())
    assert tape.play(Exited("x")) == (Wait(10.0, 1),)


def test_a_stuck_child_is_killed_and_followed_like_one_that_died() -> None:
    """It would not hear SIGTERM, so there is no grace to give."""
    tape = Tape()
    tape.run_until_ready()
    assert tape.play(Stuck(), 5.0) == (Kill(),)
    assert tape.play(Exited("stuck"), 5.1) == (Wait(0.0, 1),)
    assert tape.life.exit_cause == "stuck"


def test_a_stuck_child_that_is_leaving_keeps_its_grace() -> None:
    """Its end is decided already; the reason must stay the operator's."""
    tape = Tape()
    tape.run_until_ready()
    tape.play(RestartAsked("new version", 3.0))
    assert tape.play(Stuck()) == ()


class World:
    """Carries out decisions as the operating system would, and checks what must always hold."""

    def __init__(self) -> None:
        self.tape = Tape()
        self.now_s = 0.0
        self.alive = False
        self.killed = False
        self.stopped = False
        self.ended = False
        self.spawned = 0

    def feed(self, event: LifeEvent) -> None:
        """One event; the world stays consistent."""
        self.stopped = self.stopped or isinstance(event, StopAsked)
        if isinstance(event, Exited | SpawnFailed):
            self.alive = False
        for decision in self.tape.play(event, self.now_s):
            self._carry_out(decision)
        assert self.alive == self.tape.life.has_process
        assert self.ended == (self.tape.life.phase is Phase.ENDED)
        assert self.tape.life.generation == self.spawned

    def _carry_out(self, decision: Decision) -> None:
        assert not self.ended, "nothing is decided after the end"
        match decision:
            case Spawn(generation):
                assert not self.alive, "one process at a time"
                assert not self.stopped, "no start after a stop"
                self.spawned += 1
                assert generation == self.spawned
                self.alive, self.killed = True, False
            case Wait(delay_s, generation):
                assert 0.0 <= delay_s <= POLICY.max_delay_s
                assert generation == self.spawned
                assert not self.alive
            case Terminate() | Kill():
                assert self.alive
            case GiveUp():
                assert not self.alive
            case End():
                assert not self.alive
                self.ended = True


GENERATIONS = st.integers(0, 8)
EVENTS = st.one_of(
    st.just(Start()),
    st.just(SpawnFailed("no memory")),
    st.sampled_from([Reported("JOINING"), Reported("READY"), Reported("FAILED")]),
    st.builds(Exited, st.just("cause"), st.booleans()),
    st.just(Stuck()),
    st.builds(DelayOver, GENERATIONS),
    st.builds(GraceOver, GENERATIONS),
    st.builds(RestartAsked, st.just("why"), st.floats(0, 60)),
    st.builds(StopAsked, st.floats(0, 60)),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 100)), max_size=60))
def test_any_story_keeps_one_process_and_ends_when_told(
    story: list[tuple[LifeEvent, float]],
) -> None:
    """Whatever happens in whatever order: at most one process, and a stop is the end."""
    world = World()
    for event, pause_s in story:
        world.now_s += pause_s
        if isinstance(event, Exited | SpawnFailed) and not world.alive:
            continue  # the system reports no end without a process
        world.feed(event)
    world.feed(StopAsked(1.0))
    if world.alive:
        world.feed(GraceOver(world.spawned))
        world.feed(Exited("killed"))
    assert world.ended
