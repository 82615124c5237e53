"""A report as Markdown, which reads well on a terminal, too. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from mlxconsole.bench.figures import against

if TYPE_CHECKING:
    from mlxconsole.bench.figures import Figure, Report

TITLES = ("figure", "value", "unit", "better", "beside", "reference", "ratio")


def markdown(report: Report, earlier: Report | None = None) -> str:
    """Machine, a table per suite, what is missing; with ``earlier`` a column of ratios to it."""
    lines = ["# Benchmarks", "", f"`{report.command}`", ""]
    lines += [f"- {name}: {value}" for name, value in report.machine.items()]
    ratios = against(report, earlier) if earlier else None
    for suite, figures in groupby(report.figures, key=lambda figure: figure.suite):
        lines += ["", f"## {suite}", "", *_table(list(figures), ratios)]
    if report.missing:
        lines += ["", "## Not measured", "", *(f"- {text}" for text in report.missing)]
    return "\n".join(lines) + "\n"


def _table(figures: list[Figure], ratios: dict[tuple[str, str], float] | None) -> list[str]:
    rows: list[tuple[str, ...]] = [(*TITLES, "now / then") if ratios is not None else TITLES]
    for figure in figures:
        cells = (
            figure.name,
            number(figure.value),
            figure.unit,
            figure.better,
            figure.reference_name or "-",
            number(figure.reference),
            number(figure.ratio),
        )
        if ratios is not None:
            cells = (*cells, number(ratios.get((figure.suite, figure.name))))
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def number(value: float | None) -> str:
    """Four digits; a dash for none."""
    return "-" if value is None else f"{value:.4g}"
