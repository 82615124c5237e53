"""The `console` suite: what `mlxconsole.console_bench` measures, beside the budget and a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxconsole.bench.figures import Figure
from mlxconsole.console_bench import CASES, CONTESTANTS, GOALS, measure

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task
    from mlxconsole.console_bench import Case, Figures

QUICK_WATCH_S, QUICK_KEYS = 5.0, 12
OURS = "ours"
NAMES = (
    ("cpu_percent", "CPU", "% of a core", 1.0),
    ("bytes_per_s", "output", "KB/s", 1e-3),
    ("key_p50_ms", "key p50", "ms", 1.0),
    ("key_p95_ms", "key p95", "ms", 1.0),
    ("first_data_s", "first data", "s", 1.0),
    ("rss_bytes", "memory", "MiB", 2.0**-20),
)


def measure_suite(task: Task) -> list[Figure]:
    """Every contestant on every case; a quick run looks at the small cluster only."""
    made: list[Figure] = []
    for case in CASES[:1] if task.quick else CASES:
        found: dict[str, Figures] = {}
        for contestant in CONTESTANTS:
            task.tell(f"console: {case.ranks} ranks, {contestant}")
            found[contestant] = (
                measure(contestant, case, QUICK_WATCH_S, QUICK_KEYS)
                if task.quick
                else measure(contestant, case)
            )
        made += figures(case, found)
    return made


def figures(case: Case, found: dict[str, Figures]) -> list[Figure]:
    """Ours beside the budget, where there is one, and beside every other contestant."""
    ours, peers = found[OURS], {name: seen for name, seen in found.items() if name != OURS}
    made: list[Figure] = []
    for key, what, unit, scale in NAMES:
        for name, peer in {"budget": GOALS[case], **peers}.items():
            reference = getattr(peer, key) * scale
            if reference < float("inf"):
                title = f"{what}, {case.ranks} ranks ({name})"
                value = getattr(ours, key) * scale
                made.append(Figure("console", title, value, unit, "less", reference, name))
    return made
