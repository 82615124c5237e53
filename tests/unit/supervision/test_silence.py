"""A child that is alive and says nothing is stuck; one that merely could not speak is not."""

from __future__ import annotations

from daemon.supervision.silence import FIRST_WORD_S, LOOK_S, Silence


def looks_until_stuck(silence: Silence, state: str, limit: int = 1000) -> int:
    """How many looks it takes."""
    return next(n for n in range(1, limit) if silence.look(state))


def test_a_child_that_fell_silent_is_stuck_after_its_time() -> None:
    """Two seconds of silence, at four looks a second."""
    silence = Silence(2.0)
    silence.heard()
    assert looks_until_stuck(silence, "sleeping") == 8
    assert silence.describe("sleeping") == "no report for 2.0 s"


def test_every_word_starts_the_count_again() -> None:
    """A loaded machine may swallow some of the signs of life."""
    silence = Silence(2.0)
    for _ in range(100):
        silence.heard()
        assert not any(silence.look("running") for _ in range(7))


def test_imports_may_take_long_but_a_stopped_child_is_no_importer() -> None:
    """Before its first word a child reads libraries, from a slow disk perhaps."""
    assert looks_until_stuck(Silence(2.0), "running") == FIRST_WORD_S / LOOK_S
    silence = Silence(2.0)
    assert looks_until_stuck(silence, "stopped") == 8
    assert silence.describe("stopped") == "no report for 2.0 s (it is stopped)"


def test_waiting_for_a_disk_is_no_silence() -> None:
    """Killing it would not end the wait, and reading everything again would make it longer."""
    silence = Silence(2.0)
    silence.heard()
    assert not any(silence.look("disk-sleep") for _ in range(100))
    assert looks_until_stuck(silence, "sleeping") == 8
