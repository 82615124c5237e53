"""The files that a supervisor keeps under `--state-dir`: its log, and a claim to its rank."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from daemon.errors import SettingsError
from daemon.supervision import pid_file
from daemon.supervision.log_file import LogFile

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.supervision.history import LogSink


class StateFolder:
    """Opens the log on entry, claims the rank on demand, takes the claim back on exit.

    Without a folder there is no claim, and the log goes to stderr.
    """

    def __init__(self, state_dir: Path | None, rank: int) -> None:
        self._state_dir = state_dir
        self._rank = rank
        self._log_file: LogFile | None = None
        self.log: LogSink = StderrLog()

    def __enter__(self) -> Self:
        """Open the log.

        Raises:
            SettingsError: the folder can't be written, or another supervisor has this rank there.
        """
        if self._state_dir is not None:
            self._refuse_second(self._state_dir)
            try:
                self._state_dir.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SettingsError(
                    f"can't use the state folder {self._state_dir}: {error.strerror}; "
                    "choose another --state-dir"
                ) from error
            self._log_file = LogFile(pid_file.log_path_of(self._state_dir, self._rank))
            self.log = self._log_file
        return self

    def __exit__(self, *_: object) -> None:
        if self._state_dir is not None:
            pid_file.remove(pid_file.path_of(self._state_dir, self._rank))
        if self._log_file is not None:
            self._log_file.close()

    def claim(self) -> None:
        """Write the pid file; call it when the control port is ours.

        Raises:
            SettingsError: the folder can't be written.
        """
        if self._state_dir is None:
            return
        path = pid_file.path_of(self._state_dir, self._rank)
        try:
            pid_file.write(path)
        except OSError as error:
            raise SettingsError(f"can't write {path}: {error.strerror}") from error

    def _refuse_second(self, state_dir: Path) -> None:
        found = pid_file.read(pid_file.path_of(state_dir, self._rank))
        # `up` writes the claim of a daemon that it has just started: that one is ours.
        if found is not None and found.pid != os.getpid() and found.alive:
            raise SettingsError(
                f"rank {self._rank} is already supervised by process {found.pid}: "
                "end it first (`mlxconsole down`), or choose another --state-dir"
            )


class StderrLog:
    """Log lines for whoever started the daemon by hand."""

    def write(self, line: str) -> None:
        """Write one line; a closed terminal is no reason to end."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
