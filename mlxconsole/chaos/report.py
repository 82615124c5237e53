"""A chaos run as a document. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlxconsole.chaos.faults import Fault


@dataclass
class Incident:
    """One fault and what came of it. Seconds; nan where nothing was to be measured."""

    fault: Fault
    ranks: tuple[int, ...]
    at_s: float
    """Since the beginning of the run."""
    detected_s: float = math.nan
    """From the fault to the first event that tells of it."""
    recovered_s: float = math.nan
    """From the fault until steps ran again (or the process was back)."""
    streams: int = 0
    """Answers that were under way."""
    pauses_s: list[float] = field(default_factory=list[float])
    """The longest wait of each of them."""
    complaint: str = ""
    """What should not have happened, apart from the answers."""


@dataclass
class Run:
    """A whole run."""

    command: str
    seconds: float
    ranks: int
    model: str
    streams: int
    incidents: list[Incident]
    same: int = 0
    cut: int = 0
    """Ended with the process that held their connection: no cluster can save those."""
    refused: int = 0
    """Asked while that process was away."""
    complaints: list[str] = field(default_factory=list[str])
    """Differences and failures, in words."""

    @property
    def passed(self) -> bool:
        """Whether nobody noticed more than pauses."""
        return not self.complaints and not any(i.complaint for i in self.incidents)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed; nan of none."""
    known = sorted(value for value in values if not math.isnan(value))
    return known[max(0, math.ceil(share * len(known)) - 1)] if known else math.nan


def markdown(run: Run) -> str:
    """The report."""
    verdict = "passed" if run.passed else "FAILED"
    failures = len(run.complaints)
    lines = [
        "# Chaos report",
        "",
        f"`{run.command}`: **{verdict}**.",
        "",
        f"{run.seconds / 60:.1f} minutes, {run.ranks} ranks of `{run.model}`, {run.streams} streams"
        f" at a time, {len(run.incidents)} faults. {run.same} answers equal to the undisturbed "
        f"ones character for character (text, finish reason, token count, log probabilities), "
        f"{failures} different or failed. {run.cut} were cut off with the API process that held "
        f"their connection (a process that dies takes its sockets with it), {run.refused} attempts "
        "refused until the next one served.",
        "",
        "Seconds. Detected: from the fault to the first event that tells of it. Recovered: until "
        "steps ran again. Pause: the longest wait of a stream that was under way.",
        "",
        *_summary(run.incidents),
        "",
        "## Every fault",
        "",
        "| at | fault | rank | detected | recovered | streams | longest pause |",
        "|---|---|---|---|---|---|---|",
        *(_row(incident) for incident in run.incidents),
        "",
    ]
    complaints = [*run.complaints, *(_complaint(i) for i in run.incidents if i.complaint)]
    if complaints:
        lines += ["## What went wrong", "", *(f"- {text}" for text in complaints), ""]
    return "\n".join(lines)


def _summary(incidents: Sequence[Incident]) -> list[str]:
    head = "| fault | times | detected p50 | p95 | recovered p50 | p95 | pause p50 | p95 |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for fault in dict.fromkeys(incident.fault for incident in incidents):
        those = [incident for incident in incidents if incident.fault is fault]
        groups = (
            [i.detected_s for i in those],
            [i.recovered_s for i in those],
            [pause for i in those for pause in i.pauses_s],
        )
        cells = (seconds(percentile(g, p)) for g in groups for p in (0.5, 0.95))
        lines.append(f"| {fault.value} | {len(those)} | {' | '.join(cells)} |")
    return lines


def _row(incident: Incident) -> str:
    ranks = ", ".join(str(rank) for rank in incident.ranks)
    cells: Iterable[str] = (
        f"{incident.at_s:.1f}",
        incident.fault.value,
        ranks,
        seconds(incident.detected_s),
        seconds(incident.recovered_s),
        str(incident.streams),
        seconds(percentile(incident.pauses_s, 1.0)),
    )
    return f"| {' | '.join(cells)} |"


def _complaint(incident: Incident) -> str:
    return f"at {incident.at_s:.1f} s, {incident.fault.value}: {incident.complaint}"


def seconds(value: float) -> str:
    """Three digits after the point, or a dash."""
    return "-" if math.isnan(value) else f"{value:.3f}"
