"""Starts the supervisors of a local cluster, detached, and ends them.

Knows processes and files, no network. Any thread; blocks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlxconsole.local.process_mark import ProcessMark, end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlxconsole.local.state_dir import StateDir

SETTINGS_VARIABLE = re.compile(r"MLXCONSOLE_(CLUSTER|API|ENGINE|LIMITS)_")
# -P: a folder named `daemon` in the state folder is not our package.
DAEMON_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "daemon.cli")
EXIT_GRACE_S = 2.0
"""Beyond the grace that a supervisor gives to its own children."""


@dataclass(frozen=True)
class Daemon:
    """A supervisor that we started."""

    rank: int
    process: subprocess.Popen[bytes]
    output: Path
    """The file that takes its standard output and error."""

    def last_words(self) -> str:
        """The last line it printed, or its exit code."""
        text = self.output.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.process.returncode}"


def spawn(rank: int, state: StateDir, environ: Mapping[str, str]) -> Daemon:
    """Start the supervisor of ``rank`` on the settings in ``state``.

    It gets a session of its own, so that neither Ctrl-C nor the end of the terminal reaches it.
    Settings variables are left out: they are in the file already, where flags have beaten them.
    """
    kept = {key: text for key, text in environ.items() if not SETTINGS_VARIABLE.match(key)}
    where = ("--config", str(state.config), "--state-dir", str(state.path))
    output = state.output(rank)
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*DAEMON_COMMAND, "--rank", str(rank), *where],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=state.path,
            env=kept,
            start_new_session=True,
        )
    mark = ProcessMark.of(process.pid)
    if mark:
        state.mark(rank, mark)
    return Daemon(rank, process, output)


def end_some(state: StateDir, started: Sequence[Daemon], grace_s: float) -> None:
    """End these supervisors, and remove their records; others in ``state`` run on."""
    marks = state.marks()
    end([marks[d.rank] for d in started if d.rank in marks], grace_s + EXIT_GRACE_S)
    for daemon in started:
        state.pid_file(daemon.rank).unlink(missing_ok=True)


def end_all(state: StateDir, grace_s: float) -> list[int]:
    """End whatever runs in ``state`` and remove its records.

    Returns:
        Pids that could not be ended; the records stay then.
    """
    left = end(state.marks().values(), grace_s + EXIT_GRACE_S)
    if not left:
        state.clear()
    return [mark.pid for mark in left]
