"""What a `Communicator` hands to those who listen: messages and news of peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Message(NamedTuple):
    """One message, exactly once and in order per (source, tag).

    A named tuple: made once per message, and frozen dataclasses take three times as long.
    """

    source: int
    tag: int
    payload: bytes | memoryview


@dataclass(frozen=True, slots=True)
class PeerEvent:
    """A peer can be reached, or its session is over and what was under way is lost."""

    rank: int
    kind: Literal["up", "lost"]
    boot_id: str
    """Of the peer's process that came up or was lost; empty if it never was up."""
    reason: str = ""
    """Of a loss, in words."""
