"""Reads a recording, as far as it is whole: a file that was cut off is good up to there.

Bounded: never holds more than one chunk and one record. No clock, no loop.
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import msgpack

from daemon.errors import SettingsError
from mlxconsole.recording.form import GZIP, Header, second, unpack, unpack_header

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from mlxconsole.source.base import Update

CHUNK_BYTES = 256 * 1024
MOST_RECORD_BYTES = 16 * 1024 * 1024
"""A frame has at most about 512 KiB; a file that claims more is no recording."""


@dataclass
class Recording:
    """An open recording; `updates` can be walked through once."""

    header: Header
    updates: Iterator[Update]
    """In the order of their arrival; ``at_s`` counts from the header's time."""


@contextmanager
def opened(path: Path) -> Generator[Recording]:
    """The recording in a file.

    Raises:
        SettingsError: it can't be read, or is none; also while walking through a broken one.
    """
    with _opened(path) as records:
        header = unpack_header(next(records, None))
        yield Recording(header, _updates(records))


def span(path: Path) -> tuple[Header, float, float]:
    """Header, first and last second of a file; nothing but its seconds is looked at.

    Raises:
        SettingsError: it can't be read, or is none.
    """
    with _opened(path) as records:
        header = unpack_header(next(records, None))
        first_s = last_s = None
        for record in records:
            last_s = second(record)
            first_s = last_s if first_s is None else first_s
        return header, first_s or 0.0, last_s or 0.0


@contextmanager
def _opened(path: Path) -> Generator[Iterator[object]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise SettingsError(f"can't read {path}: {error.strerror}") from error
    with file:
        try:
            yield _records(file)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from error


def _updates(records: Iterator[object]) -> Iterator[Update]:
    for record in records:
        update = unpack(record)
        if update is not None:
            yield update


def _records(file: BinaryIO) -> Iterator[object]:
    unpacker = msgpack.Unpacker(max_buffer_size=MOST_RECORD_BYTES, strict_map_key=False)
    chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
    try:
        for part in chain.from_iterable(map(_Unzip().feed, chunks)):
            unpacker.feed(part)
            yield from unpacker
    except (ValueError, msgpack.UnpackException) as error:
        raise SettingsError(f"a broken recording: {error}") from error


class _Unzip:
    """Takes gzip members apart, a bounded piece at a time."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP)
        self._damaged = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` goes on with; nothing more once a member was damaged."""
        while data and not self._damaged:
            try:
                part = self._member.decompress(data, CHUNK_BYTES)
            except zlib.error:
                self._damaged = True
                return
            if part:
                yield part
            if self._member.eof:
                data, self._member = self._member.unused_data, zlib.decompressobj(GZIP)
            else:
                data = self._member.unconsumed_tail
