"""What a chaos run says about itself: it must not hide anything."""

from __future__ import annotations

import math

from mlxconsole.chaos.faults import Fault
from mlxconsole.chaos.report import Incident, Run, markdown, percentile


def run(*incidents: Incident, complaints: tuple[str, ...] = ()) -> Run:
    """A run of a minute."""
    return Run(
        command="mlxconsole chaos --minutes 1",
        seconds=60.0,
        ranks=2,
        model="demo",
        streams=8,
        incidents=list(incidents),
        same=20,
        cut=1,
        refused=3,
        complaints=list(complaints),
    )


def test_a_clean_run_passes_with_its_figures() -> None:
    """One row per kind of fault, one per fault."""
    one = Incident(Fault.KILL_LEADER, (0,), 1.5, 0.01, 0.8, 8, [0.5, 0.9])
    two = Incident(Fault.KILL_LEADER, (0,), 9.0, 0.03, 1.0, 8, [0.7])
    text = markdown(run(one, two))
    assert "**passed**" in text
    assert "20 answers equal" in text
    assert "0 different or failed. 1 were cut off" in text
    assert (
        "| SIGKILL of rank 0's worker | 2 | 0.010 | 0.030 | 0.800 | 1.000 | 0.700 | 0.900 |" in text
    )
    assert "| 1.5 | SIGKILL of rank 0's worker | 0 | 0.010 | 0.800 | 8 | 0.900 |" in text
    assert "What went wrong" not in text


def test_one_different_answer_fails_the_run() -> None:
    """And is told in words."""
    text = markdown(run(complaints=("'The sea': different",)))
    assert "**FAILED**" in text
    assert "- 'The sea': different" in text


def test_a_complaint_about_a_fault_fails_the_run() -> None:
    """Right answers are not enough when the cluster did not come back as it should."""
    incident = Incident(Fault.STALL_LINK, (0, 1), 3.0, complaint="a new epoch began: []")
    text = markdown(run(incident))
    assert "**FAILED**" in text
    assert "- at 3.0 s, a link that delivers nothing for 1 s: a new epoch began: []" in text
    assert "| - | - | 0 | - |" in text


def test_percentiles_are_values_that_were_measured() -> None:
    """No interpolation; what was not measured does not count."""
    assert percentile([3.0, 1.0, math.nan, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert percentile([7.0], 0.0) == 7.0
    assert math.isnan(percentile([math.nan], 0.5))
