"""What the console knows: the latest status of every rank, rates, the merged log, events.

Pure: no textual, no grpc, the clock comes from outside. Written by `apply` and read by the views,
both in the app's event loop.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mlxconsole.log_entry import CONSOLE, LogEntry, entry, event_entry
from mlxconsole.log_ring import LogRing
from mlxconsole.rank_window import HISTOGRAMS, UNKNOWN, RankFigures, RankWindow
from mlxconsole.rates import Rate
from mlxconsole.snapshot import state_name
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.timeline import Timeline
from protos.control_pb2 import RankStatus, RequestTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlxconsole.cluster import Cluster, Member
    from mlxconsole.source.base import Update
    from mlxconsole.source.replay import Playback
    from protos.control_pb2 import WatchFrame

EVENTS = 1_000
TROUBLES = 8
TROUBLE_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL"})

Contact = Literal["connecting", "live", "lost"]


@dataclass(slots=True)
class RankView:
    """What is known about one rank, and since when."""

    member: Member
    status: RankStatus | None = None
    """The last one received; kept, and shown dimmed, when the contact is lost."""
    contact: Contact = "connecting"
    seen_at_s: float = 0.0
    """When the last frame came (monotonic)."""
    state_since_s: float = 0.0
    """When the state was first seen (monotonic)."""
    api_since_s: float = 0.0
    """When the present state of the API process, if it is here, was first seen (monotonic)."""
    reason: str = ""
    """Why the contact is lost."""
    ended_at_s: float = float("-inf")
    """When we learned that a worker had ended (monotonic); a warm spare may be back by then."""
    tokens_out: Rate = field(default_factory=Rate)
    window: RankWindow = field(default_factory=RankWindow)
    """What it did in the last few seconds."""
    clock_skew_s: float | None = None
    """Its clock before (+) or behind (-) ours, the way of a frame not counted."""
    next_log: int = 0
    """Sequence number of the log line that comes next: history after a reconnect repeats."""
    next_event: int = 0
    lines_lost: int = 0
    """Log lines that its supervisor dropped because this console read too slowly."""
    recent: tuple[float | None, ...] = ()
    """Tokens per second in the last pictures."""
    troubles: tuple[LogEntry, ...] = ()
    """Its last lines of level WARNING and above."""

    @property
    def figures(self) -> RankFigures:
        """What it did in the last few seconds; nothing is known without contact."""
        return self.window.figures() if self.contact == "live" else UNKNOWN

    @property
    def state(self) -> str:
        """The last known state as a word; UNKNOWN before the first answer."""
        return state_name(self.status) if self.status else "UNKNOWN"


class Store:
    """The picture of one cluster that all views share."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        playback: Playback | None = None,
    ) -> None:
        self.cluster = cluster
        self.clock = clock
        """Monotonic seconds, in which updates are dated; pictures freeze it."""
        self.wall_clock = wall_clock
        """Unix time, in which what this console says is dated."""
        self.playback = playback
        """Where a recording stands, if this is one."""
        self.ranks = {member.rank: RankView(member) for member in cluster.members}
        self.log = LogRing()
        self.events = LogRing(EVENTS)
        """What happened to ranks, and what the operator did, as lines whose source is the kind."""
        self.timeline = Timeline(len(self.ranks))
        """The recent past; its cursor is what all views show."""
        self.requests = RequestTable()
        """The live requests, as rank 0 told last."""
        self.start_command = "mlxconsole up"
        """What starts the ranks, as it is said when none of them answers."""
        self.log_lines_lost = 0
        """Lines that supervisors dropped because this console read too slowly."""

    def apply(self, update: Update) -> None:
        """Take in one update."""
        view = self.ranks.get(update.rank)
        if view is None:
            return
        match update:
            case FrameArrived(frame=frame, at_s=at_s):
                self._take_frame(view, frame, at_s)
            case ContactLost(reason=reason):
                view.contact = "lost"
                view.reason = reason

    @property
    def shown(self) -> dict[int, RankView]:
        """The ranks at the moment that the views show."""
        past = self.timeline.shown
        return past.ranks if past else self.ranks

    def shown_at_s(self) -> float:
        """That moment, on the store's clock."""
        past = self.timeline.shown
        return past.at_s if past else self.clock()

    @property
    def shown_requests(self) -> RequestTable:
        """The requests at that moment."""
        past = self.timeline.shown
        return RequestTable.FromString(past.requests) if past else self.requests

    def nobody_answered(self) -> bool:
        """Whether no rank has ever been heard of, and not for want of time."""
        return all(v.status is None and v.contact == "lost" for v in self.ranks.values())

    def ready_count(self) -> int:
        """Ranks that are READY as far as we see: a lost contact does not count."""
        return sum(v.contact == "live" and v.state == "READY" for v in self.shown.values())

    def tokens_per_s(self, now_s: float) -> float | None:
        """Tokens per second of the cluster; None when no rank can tell.

        Every rank that takes part counts the same tokens, so the fullest count is the answer.
        """
        live = [v.tokens_out.per_second(now_s) for v in self.shown.values() if v.contact == "live"]
        return max((rate for rate in live if rate is not None), default=None)

    def sequences(self) -> int:
        """Live sequences of the cluster, as the rank that knows most says."""
        return max((v.status.sequences for v in self.ranks.values() if v.status), default=0)

    def note(self, text: str, level: str) -> None:
        """Record what the operator did here, and how it went, in the log and the events."""
        for ring in (self.log, self.events):
            ring.extend([LogEntry(CONSOLE, self.wall_clock(), level, "console", text)])

    def event(self, rank: int, kind: str, text: str, level: str) -> None:
        """Record what this console found out about a rank."""
        self.events.extend([LogEntry(rank, self.wall_clock(), level, kind, text)])

    def _take_frame(self, view: RankView, frame: WatchFrame, at_s: float) -> None:
        view.contact, view.reason, view.seen_at_s = "live", "", at_s
        if frame.HasField("status"):
            self._take_status(view, frame.status, at_s)
            if view.member.rank == 0:
                self.requests = RequestTable()
                self.requests.CopyFrom(frame.requests)
        if frame.time_s:
            view.clock_skew_s = frame.time_s - self.wall_clock()
        self.log_lines_lost += frame.dropped
        view.lines_lost += frame.dropped
        fresh = self._new_lines(view, frame)
        self.log.extend(fresh)
        troubles = tuple(line for line in fresh if line.level in TROUBLE_LEVELS)
        view.troubles = (*view.troubles, *troubles)[-TROUBLES:]
        for event in frame.events:
            if event.sequence >= view.next_event:
                view.next_event = event.sequence + 1
                self.events.extend([event_entry(view.member.rank, event)])

    def _take_status(self, view: RankView, received: RankStatus, at_s: float) -> None:
        old = view.status
        view.window.add(at_s, received)
        # A copy: pictures keep it, and with it would keep the log lines of its frame.
        status = RankStatus()
        status.CopyFrom(received)
        for name in HISTOGRAMS:
            status.ClearField(name)
        if old is None or old.state != status.state:
            view.state_since_s = at_s
        if old is not None and _has_ended(old, status):
            view.ended_at_s = at_s
        if old is None or old.api.state != status.api.state:
            view.api_since_s = at_s
        if old is not None and old.supervisor_pid != status.supervisor_pid:
            view.next_log = view.next_event = 0
        view.status = status
        view.tokens_out.add(at_s, status.boot_id, status.counters.tokens_out)

    def _new_lines(self, view: RankView, frame: WatchFrame) -> list[LogEntry]:
        fresh = [line for line in frame.logs if line.sequence >= view.next_log]
        if fresh:
            view.next_log = fresh[-1].sequence + 1
        return [entry(view.member.rank, line) for line in fresh]


def _has_ended(old: RankStatus, new: RankStatus) -> bool:
    """Whether a worker ended between the two, however quickly the next one came."""
    is_same = (old.supervisor_pid, old.generation) == (new.supervisor_pid, new.generation)
    return bool(new.exit_cause) and (not is_same or (old.worker_pid != 0 and new.worker_pid == 0))
