"""The store: what frames do to it, and what the views then read."""

from __future__ import annotations

from mlxconsole.log_entry import LogEntry, entry
from mlxconsole.log_ring import LogRing
from mlxconsole.rates import Rate
from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.source.replay import Playback
from mlxconsole.store import Store
from mlxconsole.ui import rank_columns
from mlxconsole.ui.header import header_text
from protos.control_pb2 import Event, LogLine, RankState, WatchFrame


def two_ranks() -> Store:
    """A store of two ready ranks, seen at second 10."""
    store = Store(seeded.cluster(2), clock=lambda: 10.0)
    for rank in range(2):
        store.apply(FrameArrived(rank, seeded.frame(seeded.status(rank, 2)), 10.0))
    return store


def test_nothing_is_known_before_the_first_frame() -> None:
    """Unknown is not DOWN, and no rate is not zero."""
    store = Store(seeded.cluster(2))
    assert [view.state for view in store.ranks.values()] == ["UNKNOWN", "UNKNOWN"]
    assert store.tokens_per_s(0.0) is None
    assert store.ready_count() == 0
    assert store.sequences() == 0


def test_a_lost_contact_keeps_the_status_but_is_not_ready() -> None:
    """The last values stay for the operator; the count must not lie."""
    store = two_ranks()
    assert store.ready_count() == 2
    store.apply(ContactLost(1, "no answer", 11.0))
    assert store.ready_count() == 1
    view = store.ranks[1]
    assert (view.state, view.contact, view.reason) == ("READY", "lost", "no answer")


def test_the_rate_comes_from_counters() -> None:
    """Tokens per second over the window, not what a rank claims."""
    store = two_ranks()
    later = seeded.status(0, 2)
    later.counters.tokens_out += 50
    store.apply(FrameArrived(0, seeded.frame(later), 11.0))
    assert store.tokens_per_s(11.0) == 50.0


def test_a_restart_makes_no_spike() -> None:
    """Counters that start again are a new boot, not a negative or huge rate."""
    rate = Rate()
    rate.add(1.0, "a", 1000)
    rate.add(2.0, "a", 1100)
    assert rate.per_second(2.0) == 100.0
    rate.add(3.0, "b", 5000)
    assert rate.per_second(3.0) is None
    rate.add(4.0, "b", 5010)
    assert rate.per_second(4.0) == 10.0
    rate.add(5.0, "b", 3)
    assert rate.per_second(5.0) is None


def test_the_rate_falls_when_nothing_comes_any_more() -> None:
    """A silent rank does not go on at its last speed."""
    rate = Rate()
    rate.add(0.0, "a", 0)
    rate.add(1.0, "a", 100)
    assert rate.per_second(1.0) == 100.0
    assert rate.per_second(10.0) == 10.0


def test_history_after_a_reconnect_is_not_shown_twice() -> None:
    """The first frame of a stream repeats what we may know."""
    store = two_ranks()
    lines = [LogLine(event=f"e{n}", sequence=n) for n in range(5)]
    events = [Event(kind="state", text="READY", sequence=n) for n in range(2)]
    store.apply(FrameArrived(0, WatchFrame(logs=lines[:3], events=events[:1]), 11.0))
    store.apply(FrameArrived(0, WatchFrame(logs=lines, events=events, dropped=2), 12.0))
    entries = [store.log.get(n) for n in range(5)]
    assert [entry.text for entry in entries if entry] == [f"e{n}" for n in range(5)]
    assert store.events.end == 2
    assert store.log_lines_lost == 2


def test_a_new_supervisor_counts_its_lines_from_the_start() -> None:
    """Its line 0 is news, though we know a line 0 of its predecessor."""
    store = two_ranks()
    store.apply(FrameArrived(0, seeded.frame(None, LogLine(event="old", sequence=900)), 11.0))
    other = seeded.status(0, 2)
    other.supervisor_pid += 1
    store.apply(FrameArrived(0, seeded.frame(other, LogLine(event="new", sequence=0)), 12.0))
    assert store.log.end == 2


def test_state_changes_are_dated() -> None:
    """`DOWN 12s` counts from the change, not from the last frame."""
    store = two_ranks()
    for at_s in (20.0, 25.0):
        store.apply(FrameArrived(1, seeded.frame(seeded.down(1, 2, "exit code 1")), at_s))
    assert store.ranks[1].state_since_s == 20.0


def test_the_ring_keeps_numbers_while_it_drops_lines() -> None:
    """A view finds its line again by number."""
    ring = LogRing(capacity=3)
    ring.extend(LogEntry(0, 0.0, "INFO", "worker", str(n)) for n in range(5))
    assert (ring.start, ring.end) == (2, 5)
    assert ring.get(1) is None
    assert ring.get(5) is None
    entry = ring.get(4)
    assert entry is not None
    assert entry.text == "4"


def test_log_lines_are_safe_text() -> None:
    """Fields become key=value; control characters must not reach the terminal."""
    assert (
        one_line(event="joined", fields_json='{"rank": 1, "ok": true}') == "joined rank=1 ok=True"
    )
    assert one_line(event="\x1b[2Jboo\nhoo") == " [2Jboo hoo"
    assert one_line(event="odd", fields_json="[1]") == "odd [1]"
    assert one_line(event="odd", fields_json="{") == "odd {"


def one_line(event: str, fields_json: str = "") -> str:
    """A received line as it is shown."""
    return entry(0, LogLine(event=event, fields_json=fields_json)).text


def test_the_header_gives_up_the_least_needed_first() -> None:
    """Cluster and ready count survive the narrowest screen."""
    store = two_ranks()
    wide = header_text(store, 10.0, 200)
    assert wide == (
        "mlxconsole lab | Qwen3-1.7B-8bit | 2/2 READY | -- tok/s | ttft95 -- | LIVE | api READY | "
        "http://127.0.0.1:8100"
    )
    assert header_text(store, 10.0, 40) == "mlxconsole lab | 2/2 READY | -- tok/s"
    assert header_text(store, 10.0, 10) == "mlxconsole"


def test_the_header_keeps_its_parts_under_load() -> None:
    """What comes and goes with the traffic can't be read."""
    idle, busy = two_ranks(), two_ranks()
    made = seeded.status(0, 2)
    made.counters.tokens_out += 12_345
    made.first_token_times.counts.extend([0] * 12 + [5])
    busy.apply(FrameArrived(0, seeded.frame(made), 11.0))
    assert "ttft95 --" not in header_text(busy, 11.0, 200)
    for width in range(20, 120):
        parts = [header_text(store, 11.0, width).split(" | ") for store in (idle, busy)]
        names = [[part.split()[0 if part.startswith("ttft") else -1] for part in p] for p in parts]
        assert names[0] == names[1], width


def test_a_small_header_says_first_that_it_is_a_replay() -> None:
    """Whoever takes the past for the present, and READ-ONLY for the reason, acts on nothing."""
    playback = Playback(3.0, 10.0)
    playback.position_s = 10.0
    store = Store(seeded.cluster(2), clock=lambda: 10.0, playback=playback)
    for rank in range(2):
        store.apply(FrameArrived(rank, seeded.frame(seeded.status(rank, 2)), 10.0))
    at_80 = header_text(store, 10.0, 78, read_only=True)
    assert at_80.startswith("mlxconsole lab | REPLAY 0:07/0:07 end | 2/2 READY | ")
    assert header_text(store, 10.0, 20, "!12", read_only=True) == "REPLAY 0:07/0:07 end"
    store.apply(ContactLost(1, "no answer", 10.0))
    assert "REPLAY 0:07/0:07 end" in header_text(store, 10.0, 78, "!2", read_only=True)
    store.timeline.record(store)
    store.timeline.shown = store.timeline.pictures[-1]
    assert "REWOUND 0s, 0 returns" in header_text(store, 10.0, 78, read_only=True)


def test_an_endpoint_that_is_down_is_told_on_a_small_screen() -> None:
    """That it is up can be left out."""
    store = two_ranks()
    made = seeded.status(0, 2)
    made.api.state = RankState.DOWN
    store.apply(FrameArrived(0, seeded.frame(made), 11.0))
    assert header_text(store, 11.0, 40) == "mlxconsole lab | 2/2 READY | api DOWN"


def test_notes_stand_in_the_log() -> None:
    """What the operator did here belongs between what the ranks say."""
    store = two_ranks()
    store.note("restart of rank 1: under way", "INFO")
    entry = store.log.get(store.log.end - 1)
    assert entry is not None
    assert (entry.rank, entry.source) == (-1, "console")


def test_states_come_through_as_words() -> None:
    """An unset state is a rank that has not said anything yet: STARTING."""
    store = two_ranks()
    fresh = seeded.status(0, 2)
    fresh.state = RankState.RANK_STATE_UNSPECIFIED
    store.apply(FrameArrived(0, seeded.frame(fresh), 11.0))
    assert store.ranks[0].state == "STARTING"


def test_a_short_death_is_remembered() -> None:
    """A warm spare is READY again before a frame could have said DOWN."""
    store, now_s = Store(seeded.cluster(2), clock=lambda: 100.0), 100.0
    store.apply(FrameArrived(1, seeded.frame(seeded.status(1, 2)), now_s))
    columns = rank_columns.fit(80)
    assert rank_columns.note(store.ranks[1], now_s) == ""
    back = seeded.status(1, 2)
    back.generation, back.boot_id, back.exit_cause = 2, "boot-1b", "killed by signal 9 (SIGKILL)"
    store.apply(FrameArrived(1, seeded.frame(back), now_s + 1))
    _, state, after = rank_columns.row(store.ranks[1], columns, now_s + 3)
    assert state.strip() == "* READY"
    assert after == "back; 2s ago: killed by signal 9 (SIGKILL)"
    store.apply(FrameArrived(1, seeded.frame(back), now_s + 9))
    _, _, after = rank_columns.row(store.ranks[1], columns, now_s + 9)
    assert "killed" not in after, "a death of long ago gives way to the figures"


def test_a_log_line_begins_with_what_differs() -> None:
    """Ids are long: they come last, or a screen of 80 cells shows nothing else."""
    fields = '{"request_id": "req_1", "method": "GET", "reason": "", "status": 200, "seconds": 0.1}'
    line = LogLine(event="request", source="api", fields_json=fields)
    assert entry(0, line).text == "request status=200 seconds=0.1 method=GET request_id=req_1"
    death = LogLine(
        event="exit", source="supervisor", fields_json='{"text": "killed"}', level="INFO"
    )
    shown = entry(1, death)
    assert (shown.text, shown.level) == ("exit killed", "WARNING")
