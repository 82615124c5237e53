"""The state folder of a local cluster: settings, pid files, output of its processes, a lock.

Files only; `mlxconsole.local.process_mark` looks at the processes. Any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from daemon import settings_text
from daemon.errors import StartFailed
from mlxconsole.local.process_mark import ProcessMark

if TYPE_CHECKING:
    from collections.abc import Generator

    from daemon.settings import Settings


def default_path() -> Path:
    """Where `up` without --state-dir keeps its cluster."""
    return Path(platformdirs.user_state_path("mlxconsole")) / "default"


class StateDir:
    """One cluster's folder; made when something is written to it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.config = self.path / "cluster.toml"
        """What the ranks run with; there while the cluster is."""
        self.audit = self.path / "audit.ndjson"
        """Every action that a console asked for, one line each; outlives the cluster."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def flag(self) -> str:
        """What to append to a command so that it is about this state; nothing for the usual one."""
        usual = self.path == default_path().expanduser().absolute()
        return "" if usual else f" --state-dir {shlex.quote(str(self.path))}"

    @property
    def start_command(self) -> str:
        """What starts those ranks of the cluster in this state whose daemons are gone."""
        return f"mlxconsole up --config {shlex.quote(str(self.config))}{self.flag}"

    def output(self, rank: int) -> Path:
        """Standard output and error of a rank's supervisor."""
        return self.path / f"rank-{rank}.out"

    def pid_file(self, rank: int) -> Path:
        """Pid and birth of a rank's supervisor."""
        return self.path / f"rank-{rank}.pid"

    def settings(self) -> Settings | None:
        """Settings of the cluster that lives, or died, here; None if there is none.

        Raises:
            SettingsError: somebody has damaged the file.
        """
        return settings_text.parse(self.config) if self.config.exists() else None

    def write_settings(self, values: Settings) -> None:
        """Make the folder, readable for its owner only, and put the settings into it."""
        self._make()
        self.config.write_text(settings_text.to_toml(values), encoding="utf-8")

    def mark(self, rank: int, mark: ProcessMark) -> None:
        """Record a supervisor."""
        text = json.dumps({"pid": mark.pid, "create_time_s": mark.create_time_s})
        self.pid_file(rank).write_text(text + "\n", encoding="utf-8")

    def marks(self) -> dict[int, ProcessMark]:
        """Recorded supervisors by rank, alive or not."""
        found: dict[int, ProcessMark] = {}
        for path in sorted(self.path.glob("rank-*.pid")):
            rank = re.fullmatch(r"rank-(\d+)\.pid", path.name)
            # An unreadable record is none: its writer died while writing it.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                data = json.loads(path.read_text(encoding="utf-8"))
                if rank:
                    mark = ProcessMark(int(data["pid"]), float(data["create_time_s"]))
                    found[int(rank[1])] = mark
        return found

    def clear(self) -> None:
        """Remove what says that a cluster is here. Output stays, for those who ask why."""
        for path in [self.config, *self.path.glob("rank-*.pid*"), *self.path.glob("*.sock")]:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """Hold off other starts and stops of this state.

        Raises:
            StartFailed: somebody else is at it.
        """
        self._make()
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartFailed(
                    f"another mlxconsole is starting or stopping the cluster in {self}: wait for "
                    "it, or use another --state-dir"
                ) from None
            yield

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StartFailed(
                f"can't make the state folder {self}: {error.strerror}: choose another --state-dir"
            ) from error
