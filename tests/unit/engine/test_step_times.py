"""How much a step is given: enough for honest work on any machine, not more than it could need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.engine.step_times import (
    FIRST_CPU_S,
    FIRST_USES,
    KNOWN_STEPS,
    LEAST_CPU_S,
    LEAST_IDLE_S,
    StepTimes,
)
from daemon.messages import Row, Step

MOST_S = 30.0
DEMO_BYTES, BIG_BYTES = 1_000_000, 900_000_000  # half of the demo model, of 1.7 B in 8 bits


def step(tokens: int = 1, *, prefill: bool = False) -> Step:
    """One row of so many tokens."""
    return Step(1, 1, rows=(Row(1, tuple(range(tokens)), sample=not prefill),))


def cpu_s(times: StepTimes, tokens: int = 1, *, prefill: bool = False) -> float:
    """Processor time that such a step is given."""
    return times.patience(step(tokens, prefill=prefill), MOST_S).cpu_s


@pytest.mark.parametrize(
    ("weights_bytes", "tokens", "seconds"),
    [
        (DEMO_BYTES, 1, FIRST_CPU_S),  # once it was noticed after 57 s of a busy machine
        (DEMO_BYTES, 64, FIRST_CPU_S),
        (DEMO_BYTES, 256, 6.4),
        (BIG_BYTES, 1, 22.5),  # honest: 11 s without our kernels
        (BIG_BYTES, 64, MOST_S),
    ],
)
def test_the_first_step_is_judged_by_the_weights(
    weights_bytes: int, tokens: int, seconds: float
) -> None:
    """Nothing has run yet: what could such a stage need on the slowest kernels there are?"""
    assert cpu_s(StepTimes(weights_bytes), tokens, prefill=tokens > 1) == pytest.approx(seconds)


def test_a_new_kind_is_judged_by_the_others() -> None:
    """A long prompt after decoding; a guess is not needed any more."""
    times = StepTimes(BIG_BYTES)
    for _ in range(KNOWN_STEPS):
        times.note(step(), 0.13, 0.13)
    assert cpu_s(times, 64, prefill=True) == MOST_S
    assert cpu_s(times, 16) == pytest.approx(8 * 0.13 * 16)
    assert cpu_s(times, 2) == FIRST_CPU_S


def test_compiling_teaches_nothing() -> None:
    """Kernels that took 4 s once do not make every new kind wait for half a minute."""
    times = StepTimes(DEMO_BYTES)
    for seconds in (4.0, *[0.01] * KNOWN_STEPS):
        times.note(step(), seconds, seconds)
    assert cpu_s(times) == LEAST_CPU_S
    assert cpu_s(times, 8, prefill=True) == FIRST_CPU_S


def test_idle_first_steps_are_given_all_there_is() -> None:
    """On a GPU, or while another process compiles, a step that works well looks idle."""
    assert StepTimes(DEMO_BYTES).patience(step(), MOST_S).idle_s == MOST_S


@given(
    st.lists(st.tuples(st.integers(1, 512), st.booleans(), st.floats(0.0, 20.0)), max_size=60),
    st.integers(1, 512),
    st.booleans(),
    st.integers(0, 10**12),
)
def test_patience_stays_within_its_bounds(
    past: list[tuple[int, bool, float]], tokens: int, prefill: bool, weights_bytes: int
) -> None:
    """Whatever has happened: never less than the least, never more than rank 0 waits."""
    times = StepTimes(weights_bytes)
    for count, was_prefill, seconds in past:
        times.note(step(count, prefill=was_prefill), seconds, seconds)
    patience = times.patience(step(tokens, prefill=prefill), MOST_S)
    assert LEAST_IDLE_S <= patience.idle_s <= MOST_S
    assert LEAST_CPU_S <= patience.cpu_s <= MOST_S


@given(st.integers(1, 256), st.booleans(), st.floats(0.001, 2.0), st.floats(0.5, 2.0))
def test_steps_like_those_before_are_never_stuck(
    tokens: int, prefill: bool, seconds: float, ratio: float
) -> None:
    """A step that takes twice what it took before is slow, not stuck."""
    times = StepTimes(DEMO_BYTES)
    for _ in range(KNOWN_STEPS + FIRST_USES):
        times.note(step(tokens, prefill=prefill), seconds, seconds)
    patience = times.patience(step(tokens, prefill=prefill), MOST_S)
    assert patience.cpu_s > ratio * seconds
    assert patience.idle_s > ratio * seconds
