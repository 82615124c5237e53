"""The `recovery` suite: kill workers under load; what the clients wait for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mlxconsole.bench.figures import Figure
from mlxconsole.chaos.faults import Fault
from mlxconsole.chaos.report import percentile
from mlxconsole.chaos.run import Chaos, Plan

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task

SECONDS = 60.0
QUICK_SECONDS = 10.0
STREAMS = 8
GOALS = (("detected", 0.95, 0.1), ("pause", 0.5, 1.0), ("pause", 0.95, 2.0))
"""What is timed, which share of them, and the goal in seconds."""


def measure_suite(task: Task) -> list[Figure]:
    """Kills of either worker; answers that change are told as missing figures."""
    plan = Plan(
        command="mlxconsole bench --only recovery",
        seconds=QUICK_SECONDS if task.quick else SECONDS,
        seed=9,
        ranks=2,
        model=task.model or "demo",
        streams=STREAMS,
        faults=(Fault.KILL_FOLLOWER, Fault.KILL_LEADER),
    )
    tell = task.tell
    run = asyncio.run(Chaos(plan, task.folder / "recovery", lambda t: tell(f"recovery: {t}")).run())
    for complaint in run.complaints:
        task.miss(f"recovery: an answer changed or failed: {complaint}")
    values = {
        "detected": [incident.detected_s for incident in run.incidents],
        "pause": [pause for incident in run.incidents for pause in incident.pauses_s],
    }
    return [
        Figure(
            "recovery",
            f"{what} p{share * 100:.0f}, {len(run.incidents)} kills",
            percentile(values[what], share),
            "s",
            "less",
            goal_s,
            "goal",
        )
        for what, share, goal_s in GOALS
        if values[what]
    ]
