"""Draws a report: one SVG per suite that has series. Needs matplotlib, a development dependency."""

from __future__ import annotations

import importlib
import importlib.util
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mlxconsole.bench.figures import Figure, Report

NO_MATPLOTLIB = "plots need matplotlib, which is not installed: pip install matplotlib"
SIZE_INCHES = (7.0, 4.0)


def can_draw() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(report: Report, folder: Path) -> list[Path]:
    """Write the plots into ``folder``; their paths."""
    plotted = [figure for figure in report.figures if figure.x is not None]
    by_suite: dict[str, dict[str, list[Figure]]] = defaultdict(lambda: defaultdict(list))
    for figure in plotted:
        by_suite[figure.suite][figure.unit].append(figure)
    paths: list[Path] = []
    for suite, by_unit in by_suite.items():
        for number, (unit, figures) in enumerate(by_unit.items()):
            path = folder / (f"{suite}.svg" if number == 0 else f"{suite}-{number + 1}.svg")
            _draw_one(suite, unit, figures, path, report.machine)
            paths.append(path)
    return paths


def _draw_one(
    suite: str, unit: str, figures: Iterable[Figure], path: Path, machine: dict[str, str]
) -> None:
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mlxconsole"  # the same figures, the same file
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    drawing, axes = pyplot.subplots(figsize=SIZE_INCHES)
    series: dict[str, list[Figure]] = defaultdict(list)
    for figure in figures:
        series[figure.series].append(figure)
    x_name = ""
    for name, points in series.items():
        x_name = points[0].x_name
        axes.plot([p.x for p in points], [p.value for p in points], marker="o", label=name)
        peers = [p for p in points if p.reference is not None]
        if peers:
            label = f"{name}: {peers[0].reference_name}"
            axes.plot([p.x for p in peers], [p.reference for p in peers], "--", label=label)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x_name)
    axes.set_ylabel(unit)
    axes.set_title(f"{suite}: {machine.get('processor', '')}, {machine.get('cores', '')} cores")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})
    pyplot.close(drawing)
