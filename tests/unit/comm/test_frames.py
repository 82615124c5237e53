"""Headers and handshakes: what we write we read, anything else is a `CodecError`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.comm.bulk import BulkReceiver
from daemon.comm.frames import (
    PROTOCOL,
    Header,
    Hello,
    Kind,
    pack_fields,
    pack_header,
    unpack_fields,
    unpack_header,
)
from daemon.errors import CodecError

HELLO = Hello(
    protocol=PROTOCOL,
    cluster="c",
    epoch=0,
    world_size=2,
    source=1,
    target=0,
    lane=0,
    mine=("me", 1),
    theirs=("", 0),
    received=7,
)


def test_headers_and_handshakes_round_trip() -> None:
    """The layout of docs/wire.md: 32 bytes, kind first."""
    header = pack_header(Kind.DATA, 2**62 + 5, 2**40, 3)
    assert len(header) == 32
    assert header[0] == 1
    assert unpack_header(header + b"payload") == Header(1, 2**62 + 5, 2**40, 3)
    assert Hello.unpack(HELLO.pack()) == HELLO


@pytest.mark.parametrize(
    "change",
    [{"mine": 5}, {"mine": ["a"]}, {"theirs": None}, {"source": "1"}, {"lane": []}, {"more": 1}],
    ids=str,
)
def test_malformed_handshakes_are_refused(change: dict[str, Any]) -> None:
    """A server must not fall over what strangers send."""
    with pytest.raises(CodecError):
        Hello.unpack(pack_fields(asdict(HELLO) | change))
    assert replace(HELLO, epoch=3) != HELLO


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_refused(data: bytes) -> None:
    """No other exception than `CodecError`."""
    for read in (unpack_fields, Hello.unpack, unpack_header):
        try:
            read(data)
        except CodecError:
            continue
    assert unpack_header(bytes(32)).kind == 0


def test_bulk_messages_can_not_grow_beyond_their_announcement() -> None:
    """A peer that lies about a size is found out, and the rest of its message is not taken."""
    receiver = BulkReceiver(1, lambda _message: None, 100)
    with pytest.raises(CodecError, match="malformed"):
        receiver.announce(1, memoryview(b"short"))
    announced = (1).to_bytes(8, "little") + (50).to_bytes(8, "little") + b"\0"
    assert receiver.announce(1, memoryview(announced)) is None
    with pytest.raises(CodecError, match="longer than announced"):
        receiver.fill(1, bytes(32 + 51))
    too_large = (2).to_bytes(8, "little") + (101).to_bytes(8, "little") + b"\0"
    assert receiver.announce(1, memoryview(too_large)) == 2
    assert receiver.fill(2, bytes(32 + 10)) is False
