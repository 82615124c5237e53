"""The form of a recording: gzip members of msgpack records, the first of them the header.

Pure bytes. A file is members one after the other, so blocks that were packed at different times
are joined by writing them in a row, and a file that was cut off is good up to its last bytes.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import msgpack
from google.protobuf.message import DecodeError

from daemon.errors import SettingsError
from mlxconsole.cluster import Cluster, Member
from mlxconsole.source.base import ContactLost, FrameArrived
from protos.control_pb2 import WatchFrame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlxconsole.source.base import Update

FORMAT = "mlxconsole recording"
VERSION = 1
"""Grows when an older console would misread the file; new kinds of records are skipped by it."""

GZIP = 16 + zlib.MAX_WBITS
FAST = 1
"""Level of compression: logs shrink to an eighth for 1 % of a core at 64 busy ranks."""

FRAME, LOST = "frame", "lost"
"""Kinds of records: ``[seconds, kind, rank, payload]``."""


@dataclass(frozen=True)
class Header:
    """What the whole file is about."""

    cluster: Cluster
    time_s: float
    """Unix time at second 0 of the records."""
    program: str
    """Version of the console that wrote it."""


def pack_header(header: Header) -> bytes:
    """The header as a record."""
    values = {"format": FORMAT, "version": VERSION} | asdict(header)
    return packed(values)


def unpack_header(record: Any) -> Header:
    """The header.

    Raises:
        SettingsError: it is none, or of a version that this console can't read.
    """
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SettingsError("not a recording of mlxconsole")
    if record.get("version") != VERSION:
        raise SettingsError(
            f"a recording of version {record.get('version')}, and this console reads {VERSION}: "
            f"use mlxconsole {record.get('program')}"
        )
    try:
        members = tuple(Member(**_known(Member, member)) for member in record["cluster"]["members"])
        cluster = Cluster(**_known(Cluster, {**record["cluster"], "members": members}))
        return Header(cluster, float(record["time_s"]), str(record["program"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"a recording with a broken header: {error}") from error


def pack(update: Update, at_s: float) -> bytes:
    """An update as a record of second ``at_s``."""
    match update:
        case FrameArrived(rank=rank, frame=frame):
            record = [at_s, FRAME, rank, frame.SerializeToString()]
        case ContactLost(rank=rank, reason=reason):
            record = [at_s, LOST, rank, reason]
    return packed(record)


def unpack(record: Any) -> Update | None:
    """The update of a record, at its second; None if this version does not know its kind.

    Raises:
        SettingsError: it is no record.
    """
    try:
        at_s, kind, rank, payload = record
        if kind == FRAME:
            return FrameArrived(rank, WatchFrame.FromString(payload), float(at_s))
        if kind == LOST:
            return ContactLost(rank, str(payload), float(at_s))
    except (DecodeError, TypeError, ValueError) as error:
        raise SettingsError(f"a broken record: {error}") from error
    return None


def packed(record: object) -> bytes:
    """A record's bytes."""
    return msgpack.packb(record)  # pyright: ignore[reportReturnType] - autoreset is on


def second(record: Any) -> float:
    """The second of a record.

    Raises:
        SettingsError: it is no record.
    """
    try:
        return float(record[0])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"a broken record: {error}") from error


def member(records: bytes) -> bytes:
    """Records as one gzip member."""
    return zlib.compress(records, FAST, GZIP)


def _known(form: type[Cluster | Member], values: Mapping[str, Any]) -> dict[str, Any]:
    """What this version knows of it: a newer one may say more."""
    names = {field.name for field in fields(form)}
    return {name: value for name, value in values.items() if name in names}
