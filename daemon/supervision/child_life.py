"""The life of one child as a pure state machine: an event in, the next life and decisions out.

Owns every rule about when to start, wait, stop and give up. Knows no process, clock or thread:
whoever runs it (`child.py`) tells the time and carries out the decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


@dataclass(frozen=True)
class RestartPolicy:
    """How to go on after a death; the values come from `[limits]`."""

    delay_s: float
    """Least time between two starts; doubles with every death before READY."""
    max_delay_s: float
    stable_after_s: float
    """A child that lived this long has no past."""
    max_quick_deaths: int
    """This many deaths in a row before READY, and we give up; this many short lives after READY
    are restarted without a growing delay."""


class Phase(StrEnum):
    """What the supervisor is doing with the child."""

    NEW = "new"  # never started
    RUNNING = "running"
    STOPPING = "stopping"  # told to end; `restart_after_stop` says what follows
    WAITING = "waiting"  # no process; one starts when the delay is over
    GIVEN_UP = "given up"  # no process; only an operator's restart starts one
    ENDED = "ended"  # no process, ever again


@dataclass(frozen=True)
class Start:
    """Begin."""


@dataclass(frozen=True)
class SpawnFailed:
    """The operating system could not start the process."""

    cause: str


@dataclass(frozen=True)
class Reported:
    """The child said where it is: a `RankState` name."""

    state: str


@dataclass(frozen=True)
class Exited:
    """The process ended; ``hopeless`` if it said that no restart will help."""

    cause: str
    hopeless: bool = False


@dataclass(frozen=True)
class Stuck:
    """The process lives and makes no progress."""


@dataclass(frozen=True)
class DelayOver:
    """The wait that `Wait` asked for is over; ``generation`` is the one it followed."""

    generation: int


@dataclass(frozen=True)
class RestartAsked:
    """An operator wants a fresh process, the old one having ``grace_s`` to leave in order."""

    reason: str
    grace_s: float


@dataclass(frozen=True)
class StopAsked:
    """The supervisor is going to end. A grace of 0 kills."""

    grace_s: float


@dataclass(frozen=True)
class GraceOver:
    """The time that `Terminate` gave to ``generation`` is over."""

    generation: int


LifeEvent = (
    Start
    | SpawnFailed
    | Reported
    | Exited
    | Stuck
    | DelayOver
    | RestartAsked
    | StopAsked
    | GraceOver
)


@dataclass(frozen=True)
class Spawn:
    """Start a process; answer with `SpawnFailed` if that fails, with `Exited` when it ends."""

    generation: int


@dataclass(frozen=True)
class Wait:
    """Answer with `DelayOver` after ``delay_s``."""

    delay_s: float
    generation: int


@dataclass(frozen=True)
class Terminate:
    """Ask the process to leave (SIGTERM); answer with `GraceOver` after ``grace_s``."""

    grace_s: float
    generation: int


@dataclass(frozen=True)
class Kill:
    """End the process (SIGKILL); ``ordered`` if an operator gives it no time to leave."""

    ordered: bool = False


@dataclass(frozen=True)
class GiveUp:
    """No restart will help: tell people."""

    cause: str


@dataclass(frozen=True)
class End:
    """There is no process and will be none."""


Decision = Spawn | Wait | Terminate | Kill | GiveUp | End


@dataclass(frozen=True)
class ChildLife:
    """All that matters of a child's past."""

    policy: RestartPolicy
    phase: Phase = Phase.NEW
    generation: int = 0
    """Processes started so far."""
    reported: str = ""
    """Last state that the running process reported; empty before the first report."""
    was_ready: bool = False
    """Whether this process has been READY."""
    started_s: float = 0.0
    barren_deaths: int = 0
    """Deaths in a row without becoming READY."""
    short_lives: int = 0
    """Deaths in a row of processes that lived less than `stable_after_s`."""
    restart_after_stop: bool = False
    stop_reason: str = ""
    exit_cause: str = ""
    """How the last process ended; empty if none has."""

    @property
    def restarts(self) -> int:
        """Processes started after the first."""
        return max(0, self.generation - 1)

    @property
    def has_process(self) -> bool:
        """Whether a process lives (or is about to be reported as ended)."""
        return self.phase in {Phase.RUNNING, Phase.STOPPING}

    @property
    def state(self) -> str:
        """The `RankState` name that people see."""
        if self.phase is Phase.RUNNING:
            return self.reported or "STARTING"
        return _STATES[self.phase]


_STATES = {
    Phase.NEW: "STARTING",
    Phase.STOPPING: "DRAINING",
    Phase.WAITING: "DOWN",
    Phase.GIVEN_UP: "FAILED",
    Phase.ENDED: "DOWN",
}

Outcome = tuple[ChildLife, tuple[Decision, ...]]


def advance(life: ChildLife, event: LifeEvent, now_s: float) -> Outcome:
    """What becomes of ``life`` when ``event`` happens at ``now_s`` (monotonic).

    An event that no longer concerns anybody (a late timer, a report of a dead process) changes
    nothing.
    """
    match event:
        case Start() if life.phase is Phase.NEW:
            outcome = _spawn(life, now_s)
        case Reported():
            outcome = _reported(life, event), ()
        case SpawnFailed():
            outcome = _exited(life, Exited(event.cause), now_s)
        case Exited():
            outcome = _exited(life, event, now_s)
        case Stuck() if life.phase is Phase.RUNNING:  # one that is told to leave has its grace
            outcome = life, (Kill(),)
        case DelayOver() if life.phase is Phase.WAITING and event.generation == life.generation:
            outcome = _spawn(life, now_s)
        case GraceOver() if life.phase is Phase.STOPPING and event.generation == life.generation:
            outcome = life, (Kill(),)
        case RestartAsked():
            outcome = _restart(life, event, now_s)
        case StopAsked():
            outcome = _stop(life, event)
        case _:
            outcome = life, ()
    return outcome


def _spawn(life: ChildLife, now_s: float) -> Outcome:
    born = replace(
        life,
        phase=Phase.RUNNING,
        generation=life.generation + 1,
        reported="",
        was_ready=False,
        started_s=now_s,
        restart_after_stop=False,
        stop_reason="",
    )
    return born, (Spawn(born.generation),)


def _reported(life: ChildLife, event: Reported) -> ChildLife:
    if not life.has_process:
        return life
    ready = event.state == "READY"
    return replace(
        life,
        reported=event.state,
        was_ready=life.was_ready or ready,
        barren_deaths=0 if ready else life.barren_deaths,
    )


def _exited(life: ChildLife, event: Exited, now_s: float) -> Outcome:
    if life.phase is Phase.RUNNING:
        return _died(life, event.cause, hopeless=event.hopeless, now_s=now_s)
    if life.phase is not Phase.STOPPING:
        return life, ()
    cause = f"{life.stop_reason}: {event.cause}" if life.stop_reason else event.cause
    stopped = replace(life, exit_cause=cause, barren_deaths=0, short_lives=0)
    if life.restart_after_stop:
        return _spawn(stopped, now_s)
    return replace(stopped, phase=Phase.ENDED), (End(),)


def _died(life: ChildLife, cause: str, *, hopeless: bool, now_s: float) -> Outcome:
    """Decide what follows an end that nobody asked for."""
    lived_s = now_s - life.started_s
    stable = lived_s >= life.policy.stable_after_s
    dead = replace(
        life,
        exit_cause=cause,
        reported="",
        barren_deaths=0 if life.was_ready or stable else life.barren_deaths + 1,
        short_lives=0 if stable else life.short_lives + 1,
    )
    if hopeless or dead.barren_deaths >= life.policy.max_quick_deaths:
        return replace(dead, phase=Phase.GIVEN_UP), (GiveUp(cause),)
    # Counted from the start, so that a rank that had worked for a while is back at once.
    delay_s = max(0.0, _start_interval_s(dead) - lived_s)
    return replace(dead, phase=Phase.WAITING), (Wait(delay_s, life.generation),)


def _start_interval_s(life: ChildLife) -> float:
    policy = life.policy
    if life.barren_deaths:
        doublings = life.barren_deaths - 1
    else:
        # It can work, and everybody waits for it: slow down a little, not to a crawl.
        doublings = min(2, max(0, life.short_lives - policy.max_quick_deaths))
    # The exponent is bounded before it is used: 2.0 ** 1024 would raise.
    return min(policy.max_delay_s, policy.delay_s * 2.0 ** min(doublings, 60))


def _restart(life: ChildLife, event: RestartAsked, now_s: float) -> Outcome:
    if life.phase in {Phase.WAITING, Phase.GIVEN_UP, Phase.NEW}:
        return _spawn(replace(life, barren_deaths=0, short_lives=0), now_s)
    if life.phase is not Phase.RUNNING:
        return life, ()
    stopping = replace(
        life, phase=Phase.STOPPING, restart_after_stop=True, stop_reason=event.reason
    )
    return stopping, (_end_process(event.grace_s, life.generation),)


def _stop(life: ChildLife, event: StopAsked) -> Outcome:
    if life.phase is Phase.ENDED:
        return life, ()
    if not life.has_process:
        return replace(life, phase=Phase.ENDED), (End(),)
    stopping = replace(
        life, phase=Phase.STOPPING, restart_after_stop=False, stop_reason="shut down"
    )
    return stopping, (_end_process(event.grace_s, life.generation),)


def _end_process(grace_s: float, generation: int) -> Terminate | Kill:
    return Terminate(grace_s, generation) if grace_s > 0 else Kill(ordered=True)
