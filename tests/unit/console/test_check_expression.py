"""`mlxconsole check`: what an expression may say, and that it can do nothing else."""

from __future__ import annotations

import pytest

from daemon.errors import SettingsError
from mlxconsole.check_expression import evaluate, figures
from mlxconsole.source import seeded

KNOWN = figures(
    seeded.cluster(3), {0: seeded.status(0, 3), 1: seeded.down(1, 3, "killed by signal 9")}
)


def test_figures_count_a_silent_rank_as_down() -> None:
    """Nobody there is not nothing wrong."""
    assert (KNOWN["ranks"], KNOWN["reached"], KNOWN["ready"], KNOWN["down"]) == (3, 2, 1, 2)
    assert KNOWN["api_ready"]
    assert 0 < KNOWN["memory_percent"] < 100
    empty = figures(seeded.cluster(2), {})
    assert (empty["down"], empty["api_ready"], empty["uptime_s"]) == (2, False, 0.0)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ready == 1 and restarts < 3", True),
        ("ready==ranks", False),
        ("not ready == ranks", True),
        ("1 <= ready < 3", True),
        ("ready + down == ranks or queue > 10", True),
        ("-ready * 2 + 4 / 2 - 1 == -1", True),
        ("api_ready", True),
        ("tokens_per_s != 0", False),
    ],
)
def test_what_holds(text: str, holds: bool) -> None:
    """Figures, arithmetic, comparisons, and, or, not."""
    assert evaluate(text, KNOWN) == holds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ready ==", "no expression"),
        ("", "no expression"),
        ("ready = 1", "no expression"),
        ("redy == 1", "unknown name redy: there are ranks"),
        ("__import__('os')", "not allowed"),
        ("ready.real", "not allowed"),
        ("'a' == 'a'", "not allowed"),
        ("9 ** 9 ** 9", "not allowed"),
        ("[r for r in ready]", "not allowed"),
        ("ready in down", "not allowed"),
        ("ready / 0 > 1", "division by zero"),
        ("1+" * 400 + "1", "at most 500"),
        ("(" * 240 + "1" + ")" * 240, "no expression"),
    ],
)
def test_what_is_none(text: str, complaint: str) -> None:
    """One line that says what is wrong."""
    with pytest.raises(SettingsError, match=complaint):
        evaluate(text, KNOWN)
