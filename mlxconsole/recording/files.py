"""Recordings on disk: one that grows while it is made, and capsules that are written whole.

Readable by their owner only: logs may tell more than their writer knew.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, BinaryIO

from daemon.errors import SettingsError
from mlxconsole.recording.packer import Packer

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from mlxconsole.cluster import Cluster
    from mlxconsole.recording.packer import Block
    from mlxconsole.source.base import Update

MODE = 0o600


class RecordingFile:
    """A recording that is written block by block, up to a size; a context manager."""

    def __init__(self, path: Path, cluster: Cluster, most_bytes: int) -> None:
        """Create the file.

        Raises:
            SettingsError: it is there already, or can't be made.
        """
        self._packer = Packer(cluster)
        self._most_bytes = most_bytes
        self._path = path
        self._file = _create(path)
        self.size_bytes = 0
        self._write(self._packer.header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._put(self._packer.close())
        self._file.close()

    @property
    def full(self) -> bool:
        """Whether it has reached its size: it takes nothing more."""
        return self.size_bytes >= self._most_bytes

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return self._packer.now_s()

    def take(self, update: Update) -> None:
        """Append an update.

        Raises:
            SettingsError: the disk is full or gone.
        """
        if not self.full:
            self._put(self._packer.take(update))

    def _put(self, block: Block | None) -> None:
        if block is not None:
            self._write(block.data)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise SettingsError(f"can't write {self._path}: {error.strerror}") from error
        self.size_bytes += len(data)


def write_capsule(folder: Path, name: str, data: bytes) -> Path:
    """Write a capsule into ``folder``, named after the cluster and the moment; its path.

    The folder is made if it is not there.

    Raises:
        SettingsError: it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"can't make the folder {folder}: {error.strerror}") from error
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"incident-{plain_name(name)}-{moment}Z.mlxrec"
    write_whole(path, data)
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that was not there.

    Raises:
        SettingsError: it is there already, or can't be written.
    """
    with _create(path) as file:
        try:
            file.write(data)
        except OSError as error:
            raise SettingsError(f"can't write {path}: {error.strerror}") from error


def plain_name(name: str) -> str:
    """A cluster's name as part of a file's."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:40] or "cluster"


def _create(path: Path) -> BinaryIO:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb")
    except FileExistsError:
        raise SettingsError(f"{path} is there already: choose another name") from None
    except OSError as error:
        raise SettingsError(f"can't write {path}: {error.strerror}") from error
