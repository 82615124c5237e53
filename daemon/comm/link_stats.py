"""What a link has done and how quick it is: a snapshot for telemetry, and the round trips in it.

Pure; filled in by the link under its lock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT_TRIPS = 128
"""At one probe per heartbeat, about the last minute."""


@dataclass(frozen=True, slots=True)
class LinkStats:
    """The link to one peer, now. Counts are of this process, over all sessions."""

    state: str
    """`link_state.State` value."""
    reason: str
    """Of its last trouble."""
    interruptions: int
    """How often contact was lost, for whatever time."""
    bytes_sent: int
    bytes_received: int
    unacknowledged_bytes: int
    """Sent and kept, in case they have to be sent again."""
    bulk_out_done: int
    """Bytes that have arrived, of the large messages that are under way to the peer."""
    bulk_out_total: int
    """Bytes of those messages; 0 if there are none."""
    bulk_in_done: int
    bulk_in_total: int
    rtt_p50_s: float | None
    """Round trips of probes in the last minute, with the threads they wake; None: none yet."""
    rtt_p99_s: float | None


class RoundTrips:
    """Times the way of numbered probes to the peer and back."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=KEPT_TRIPS)
        self._number = 0
        self._began_s: float | None = None

    def begin(self, now_s: float) -> int:
        """The number of a probe that leaves now; an earlier one without an answer is given up."""
        self._number += 1
        self._began_s = now_s
        return self._number

    def end(self, number: int, now_s: float) -> None:
        """A probe is back. Late answers to earlier ones are not counted."""
        if number == self._number and self._began_s is not None:
            self._seconds.append(now_s - self._began_s)
            self._began_s = None

    def percentile(self, percent: int) -> float | None:
        """Seconds that so many percent of the trips stayed within (nearest rank)."""
        if not self._seconds:
            return None
        trips = sorted(self._seconds)
        return trips[-(-len(trips) * percent // 100) - 1]
