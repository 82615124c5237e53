"""Recordings: what went in comes out, whatever was cut off, and nothing grows without bound."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daemon.errors import SettingsError
from mlxconsole.commands.recording import forget_before
from mlxconsole.recording import form, reading
from mlxconsole.recording.files import RecordingFile, write_capsule
from mlxconsole.recording.flight import FlightRecorder
from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from protos.control_pb2 import WatchFrame

if TYPE_CHECKING:
    from pathlib import Path

    from mlxconsole.source.base import Update

CLUSTER = seeded.cluster(2)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Now."""
        return self.now_s


def talk(seconds: int, lines: int = 3) -> list[Update]:
    """Two ranks that say something every second, from second 100 on; rank 1 is lost half way."""
    said: list[Update] = []
    for second in range(seconds):
        at_s = 100.0 + second
        for rank in range(2):
            if rank == 1 and second >= seconds // 2:
                continue
            made = seeded.status(rank, 2)
            made.counters.steps += second
            logs = seeded.log_lines(rank, lines, seed=second)
            said.append(FrameArrived(rank, seeded.frame(made, *logs), at_s))
        if second == seconds // 2:
            said.append(ContactLost(1, "cable pulled", at_s))
    return said


def flown(updates: list[Update], **bounds: float) -> tuple[FlightRecorder, Clock]:
    """A flight recorder that has seen ``updates``."""
    clock = Clock()
    flight = FlightRecorder(CLUSTER, clock, lambda: 5_000.0, **bounds)  # pyright: ignore
    for update in updates:
        clock.now_s = update.at_s
        flight.take(update)
    return flight, clock


def read(path: Path) -> tuple[form.Header, list[Update]]:
    """Header and updates of a file."""
    with reading.opened(path) as recording:
        return recording.header, list(recording.updates)


def test_a_capsule_holds_what_was_said(tmp_path: Path) -> None:
    """The same updates at the same seconds, the cluster, and the moment."""
    said = talk(9)
    flight, _ = flown(said)
    path = write_capsule(tmp_path, "lab / two", flight.capsule(60.0))
    assert path.name.startswith("incident-lab---two-")
    assert path.stat().st_mode & 0o777 == 0o600
    header, updates = read(path)
    assert (header.cluster, header.time_s) == (CLUSTER, 5_000.0)
    # Blocks begin with what was known of lost ranks: rank 1 is repeated, at later seconds.
    rank_0 = [replace(u, at_s=u.at_s - 100.0) for u in said if u.rank == 0]
    assert [u for u in updates if u.rank == 0] == rank_0
    assert reading.span(path) == (header, 0.0, 8.0)


def test_a_capsule_of_the_last_seconds_still_knows_who_was_lost_before(tmp_path: Path) -> None:
    """A rank that went before the capsule begins is not a rank that nobody ever saw."""
    flight, _ = flown(talk(30))
    path = write_capsule(tmp_path, "lab", flight.capsule(4.0))
    _, updates = read(path)
    assert updates[0].at_s >= 22.0
    about_1 = [update for update in updates if update.rank == 1][:2]
    assert isinstance(about_1[0], FrameArrived)
    assert about_1[0].frame.status.worker_pid == 4110
    assert not about_1[0].frame.logs
    assert isinstance(about_1[1], ContactLost)
    assert about_1[1].reason == "cable pulled"


def test_the_flight_recorder_is_bounded_in_time_and_in_bytes() -> None:
    """It runs for weeks beside the screen."""
    short, _ = flown(talk(60), longest_s=10.0)
    long, _ = flown(talk(60))
    assert len(short.capsule(1e9)) < len(long.capsule(1e9)) / 3
    small, _ = flown(talk(60), most_bytes=3_000)
    assert small.kept_bytes <= 3_000


def test_a_file_that_was_cut_off_is_good_up_to_there(tmp_path: Path) -> None:
    """At every single byte: a crash or a full disk leaves what it leaves."""
    flight, _ = flown(talk(7))
    data = flight.capsule(60.0)
    path, counts = tmp_path / "cut", list[int]()
    header_end = len(FlightRecorder(CLUSTER, Clock(), lambda: 5_000.0).capsule(1.0))
    for length in range(header_end, len(data), 7):
        path.write_bytes(data[:length])
        counts.append(len(read(path)[1]))
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] >= 9
    path.write_bytes(data)
    assert len(read(path)[1]) >= counts[-1]


def test_damage_ends_a_recording_without_harm(tmp_path: Path) -> None:
    """A later block whose beginning is gone: what stands before it is shown."""
    flight, _ = flown(talk(12))
    data = flight.capsule(60.0)
    last = data.rindex(b"\x1f\x8b\x08")
    path = tmp_path / "damaged"
    path.write_bytes(data[:last] + b"?" * 40)
    _, updates = read(path)
    assert 8 < len(updates) < len(talk(12)) + 12
    path.write_bytes(data[:last] + gzip.compress(form.packed([0.1, form.FRAME])))
    with pytest.raises(SettingsError, match="broken record"):
        read(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a recording"),
        (b"hello\n", "not a recording"),
        (gzip.compress(b"hello"), "not a recording"),
        (gzip.compress(form.packed({"format": "other"})), "not a recording"),
        (
            gzip.compress(form.packed({"format": form.FORMAT, "version": 99, "program": "9.1"})),
            "use mlxconsole 9.1",
        ),
        (gzip.compress(form.packed({"format": form.FORMAT, "version": 1})), "broken header"),
    ],
    ids=["empty", "text", "other gzip", "other format", "newer", "half a header"],
)
def test_what_is_no_recording_is_refused_in_words(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    """Whatever file an operator points at."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=complaint), reading.opened(path):
        pass


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    """A capsule comes by mail: 64 MiB in one record are no frame."""
    header, _ = flown([])
    bomb = form.packed([0.0, form.FRAME, 0, bytes(64 * 2**20)])
    path = tmp_path / "bomb"
    path.write_bytes(header.capsule(1.0) + gzip.compress(bomb))
    with pytest.raises(SettingsError, match="broken recording"):
        read(path)


def test_kinds_and_fields_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    """A capsule outlives the console that wrote it."""
    values = {
        "format": form.FORMAT,
        "version": 1,
        "program": "9",
        "time_s": 1.0,
        "cluster": {
            "name": "lab",
            "model": "m",
            "api_url": "u",
            "mood": "fine",
            "members": [{"rank": 0, "host": "h", "port": 1, "control_port": 2, "colour": "red"}],
        },
    }
    records = [values, [0.5, "sound", 0, b"..."], [0.6, form.LOST, 0, "gone"]]
    path = tmp_path / "newer"
    path.write_bytes(gzip.compress(b"".join(map(form.packed, records))))
    header, updates = read(path)
    assert header.cluster.members[0].control_port == 2
    assert updates == [ContactLost(0, "gone", 0.6)]


def test_a_recording_file_grows_and_stops_at_its_limit(tmp_path: Path) -> None:
    """Nobody comes back from a week of holidays to a full disk."""
    path = tmp_path / "rec"
    with RecordingFile(path, CLUSTER, most_bytes=3_000) as file:
        for update in talk(300):
            if file.full:
                break
            file.take(update)
        assert file.full
        assert path.stat().st_size == file.size_bytes
    assert path.stat().st_size < 3_000 + 4_000
    assert len(read(path)[1]) > 10
    with pytest.raises(SettingsError, match="is there already"):
        RecordingFile(path, CLUSTER, 1)


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    """Whoever keeps incidents in a folder need not make it first; a file is no folder."""
    path = write_capsule(tmp_path / "new" / "incidents", "lab", b"x")
    assert path.read_bytes() == b"x"
    with pytest.raises(SettingsError, match="can't make the folder"):
        write_capsule(path, "lab", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_refuses_is_named(tmp_path: Path) -> None:
    """The operator can choose another one."""
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="can't write"):
        write_capsule(tmp_path, "lab", b"")
    tmp_path.chmod(0o700)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A typing error is the usual case."""
    with pytest.raises(SettingsError, match=r"can't read .*nowhere: No such file"):
        reading.span(tmp_path / "nowhere")


def test_a_capsule_of_minutes_forgets_what_is_older() -> None:
    """Supervisors keep lines, not minutes."""
    frame = WatchFrame()
    for time_s in (10.0, 20.0, 30.0):
        frame.logs.add(time_s=time_s, event=f"at {time_s:g}")
        frame.events.add(time_s=time_s)
    forget_before(frame, 20.0)
    assert [line.event for line in frame.logs] == ["at 20", "at 30"]
    assert [event.time_s for event in frame.events] == [20.0, 30.0]
    forget_before(frame, 0.0)
    assert len(frame.logs) == 2
