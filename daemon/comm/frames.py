"""The bytes on a stream: a fixed header before each frame, and the handshake (docs/wire.md).

Pure; knows no sessions and no sockets.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import msgpack

from daemon.errors import CodecError

PROTOCOL = 1
"""Ranks that speak different versions refuse each other."""
HEADER = struct.Struct("<BxxxxxxxQQQ")
HEADER_BYTES = HEADER.size
MAX_HANDSHAKE_BYTES = 4096


class Kind(IntEnum):
    """What a frame is. Kinds below CONTROL take a sequence number; the others may get lost."""

    DATA = 1
    """A whole message."""
    ANNOUNCE = 2
    """The place of a bulk message in the order of its tag: transfer id and size follow."""
    CHUNK = 3
    """The next piece of a bulk message; the tag field holds its transfer id."""
    REFUSE = 4
    """The receiver won't take a transfer."""
    GOODBYE = 5
    """The sender leaves in order; nothing follows."""
    CONTROL = 16
    WELCOME = 16
    """First frame of a stream: answers the handshake."""
    ACK = 17
    """Acknowledgement, as every header is; the tag field names the probe it answers, or 0."""
    ACK_NOW = 18
    """Heartbeat and numbered probe: asks for an ACK with its number."""


class Header(NamedTuple):
    """Decoded header of a frame."""

    kind: int
    tag: int
    sequence: int
    """0 for kinds that take none; the first of a session is 1."""
    acknowledged: int
    """Highest sequence number that the sender of this frame has received, all before included."""


def pack_header(kind: int, tag: int, sequence: int, acknowledged: int) -> bytes:
    """The fixed header of a frame."""
    return HEADER.pack(kind, tag, sequence, acknowledged)


def unpack_header(frame: bytes) -> Header:
    """The header of ``frame``.

    Raises:
        CodecError: too short.
    """
    if len(frame) < HEADER_BYTES:
        raise CodecError(f"frame of {len(frame)} bytes has no header")
    return Header(*HEADER.unpack_from(frame))


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one end of a link: a process, or its new start after it gave a peer up."""

    boot_id: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class Hello:
    """A receiver asks for a stream of frames and says where it stands."""

    protocol: int
    cluster: str
    epoch: int
    world_size: int
    source: int
    """Rank that asks."""
    target: int
    """Rank that it means to ask."""
    lane: int
    mine: tuple[str, int]
    """The asker's incarnation."""
    theirs: tuple[str, int]
    """The incarnation of the asked that the asker knows, or ("", 0)."""
    received: int
    """Sequence numbers up to this one have arrived in the session of these two."""

    def pack(self) -> bytes:
        """As the request of a stream."""
        return pack_fields(asdict(self))

    @staticmethod
    def unpack(data: bytes) -> Hello:
        """Read what `pack` wrote.

        Raises:
            CodecError: it is something else.
        """
        fields = unpack_fields(data)
        try:
            pairs: dict[str, Any] = {key: _pair(fields.get(key)) for key in ("mine", "theirs")}
            hello = Hello(**(fields | pairs))
        except TypeError as error:
            raise CodecError(f"malformed handshake: {error}") from error
        numbers = (hello.source, hello.target, hello.lane, hello.received)
        if not all(type(number) is int for number in numbers):
            raise CodecError("malformed handshake: ranks are integers")
        return hello


def pack_fields(fields: dict[str, Any]) -> bytes:
    """A flat map of plain values, for handshakes."""
    return msgpack.packb(fields)  # pyright: ignore[reportReturnType] - autoreset is on


def unpack_fields(data: bytes | memoryview) -> dict[str, Any]:
    """Read what `pack_fields` wrote.

    Raises:
        CodecError: it is something else.
    """
    try:
        fields = msgpack.unpackb(data) if len(data) <= MAX_HANDSHAKE_BYTES else None
    except (ValueError, TypeError) as error:
        raise CodecError("malformed handshake") from error
    if type(fields) is not dict or not all(type(key) is str for key in fields):
        raise CodecError("malformed handshake")
    return fields


def _pair(value: Any) -> tuple[str, int]:
    match value:
        case [str(boot_id), int(count)]:
            return boot_id, count
        case _:
            raise CodecError("malformed handshake: an incarnation is a boot id and a count")
