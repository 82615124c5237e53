"""What a `Communicator` hands to those who listen: messages and news of peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Message:
    """One message, exactly once and in order per (source, tag)."""

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
