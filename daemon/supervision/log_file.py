"""A log file of bounded size that survives a full disk. Used on the supervisor's event loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from daemon.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
KEPT_FILES = 2  # rank-0.log.1 and .2, older ones go


class LogFile:
    """Appends lines; at `MAX_BYTES` the file becomes `.1` and a new one begins."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        """Open ``path`` for appending.

        Raises:
            SettingsError: it can't be written.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._lost_lines = 0
        try:
            self._open()
        except OSError as error:
            raise SettingsError(
                f"can't write the log file {path}: {error.strerror}; choose another --state-dir"
            ) from error

    def write(self, line: str) -> None:
        """Append one line; if that fails, the line is lost and the next success says so."""
        note = f"({self._lost_lines} lines lost: disk full?)\n" if self._lost_lines else ""
        data = f"{note}{line}\n".encode(errors="replace")
        try:
            if self._size + len(data) > self._max_bytes:
                self._rotate()
            os.write(self._file, data)
        except OSError:
            self._lost_lines += 1
        else:
            self._size += len(data)
            self._lost_lines = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _rotate(self) -> None:
        for number in range(KEPT_FILES, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}")
            source = newer if number > 1 else self._path
            if source.exists():
                source.replace(older)
        full = self._file
        self._open()
        os.close(full)
