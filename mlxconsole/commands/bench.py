"""`bench`: run suites, print the table, write figures and plots."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import ClusterError, SettingsError
from mlxconsole.bench import plots
from mlxconsole.bench.bench_table import markdown
from mlxconsole.bench.figures import Report
from mlxconsole.bench.machine import describe
from mlxconsole.bench.suites import SUITES, Task, load
from mlxconsole.commands.terminal_output import complain, say

if TYPE_CHECKING:
    import argparse

NAME = "results"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def bench(arguments: argparse.Namespace) -> int:
    """Run; 0 when every suite that was asked for gave figures."""
    if arguments.list:
        say("\n".join(f"{name:<14} {text}" for name, text in SUITES.items()))
        return 0
    names = chosen(arguments.only, arguments.url)
    for number in STOP_SIGNALS:
        signal.signal(number, _leave)
    earlier = Report.from_file(arguments.compare) if arguments.compare else None
    report = Report(shlex.join(["mlxconsole", *sys.argv[1:]]), describe())
    with tempfile.TemporaryDirectory(prefix="mlxconsole-bench-") as folder:
        task = Task(
            Path(folder),
            _progress,
            report.missing.append,
            arguments.quick,
            arguments.model or "",
            arguments.url or "",
        )
        failed = [name for name in names if not _run(name, task, report)]
    text = markdown(report, earlier)
    say(text)
    if arguments.out:
        _write(report, text, arguments.out)
    return 1 if failed else 0


def chosen(only: str | None, url: str | None) -> list[str]:
    """The suites that the flags ask for.

    Raises:
        SettingsError: there is none of that name.
    """
    if only is None:
        # The others start and pin and kill what they measure: never somebody's cluster.
        return ["http"] if url else list(SUITES)
    names = only.split(",")
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise SettingsError(f"--only {unknown[0]}: no such suite; there are {', '.join(SUITES)}")
    if url and names != ["http"]:
        raise SettingsError("--url: only the suite http runs against a running cluster")
    return names


def _run(name: str, task: Task, report: Report) -> bool:
    try:
        found = load(name)(task)
    except ClusterError as error:
        complain(f"{name}: {error}")
        task.miss(f"{name}: {error}")
        return False
    report.figures += found
    return True


def _leave(number: int, _: object) -> None:
    """End as on Ctrl-C: what the suites started is taken down on the way out."""
    sys.exit(128 + number)


def _progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _write(report: Report, text: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.json").write_text(report.to_json() + "\n", encoding="utf-8")
    if plots.can_draw():
        for path in plots.draw(report, folder):
            text += f"\n![{path.stem}]({path.name})\n"
    else:
        complain(plots.NO_MATPLOTLIB)
    (folder / f"{NAME}.md").write_text(text, encoding="utf-8")
    say(f"written to {folder}: {NAME}.json, {NAME}.md and plots")
