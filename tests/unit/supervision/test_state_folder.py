"""The files of a supervisor: a log that stays small, and a claim that can be proven."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from daemon.errors import SettingsError
from daemon.supervision import log_file, pid_file
from daemon.supervision.log_file import LogFile
from daemon.supervision.state_folder import StateFolder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_log_file_makes_room(tmp_path: Path) -> None:
    """At most three files, the oldest lines go, none is torn."""
    log = LogFile(tmp_path / "rank-0.log", max_bytes=100)
    for number in range(40):
        log.write(f"line {number:02d} " + "x" * 20)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["rank-0.log", "rank-0.log.1", "rank-0.log.2"]
    assert all(file.stat().st_size <= 100 for file in files)
    lines = [line for file in reversed(files) for line in file.read_text().splitlines()]
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 40))


def test_a_log_file_goes_on_where_it_was(tmp_path: Path) -> None:
    """The end of the last run explains the start of this one."""
    for word in ("first", "second"):
        log = LogFile(tmp_path / "rank-0.log")
        log.write(word)
        log.close()
    assert (tmp_path / "rank-0.log").read_text() == "first\nsecond\n"


def test_lines_lost_to_a_full_disk_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor goes on; when there is room again, the file says what is missing."""
    log = LogFile(tmp_path / "rank-0.log")
    real_write = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_file.os, "write", full)
    log.write("lost")
    log.write("lost too")
    monkeypatch.setattr(log_file.os, "write", real_write)
    log.write("back")
    log.close()
    text = (tmp_path / "rank-0.log").read_text()
    assert text == "(2 lines lost: disk full?)\nback\n"


def test_a_claim_names_this_very_process(tmp_path: Path) -> None:
    """`down` must not end a stranger that got the same pid."""
    with StateFolder(tmp_path / "new" / "folder", 3) as folder:
        folder.log.write("hello")
        folder.claim()
        path = pid_file.path_of(tmp_path / "new" / "folder", 3)
        found = pid_file.read(path)
        assert found is not None
        assert found.pid == os.getpid()
        assert found.alive
        stranger = pid_file.PidFile(found.pid, found.create_time_s - 100)
        assert not stranger.alive
    assert not path.exists()
    assert "hello" in path.with_suffix(".log").read_text()


def test_a_living_supervisor_keeps_its_rank(tmp_path: Path) -> None:
    """The error names the process and what to do."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        claim = {"pid": other.pid, "create_time_s": psutil.Process(other.pid).create_time()}
        path = pid_file.path_of(tmp_path, 0)
        path.write_text(json.dumps(claim))
        with (
            pytest.raises(SettingsError, match=f"supervised by process {other.pid}"),
            StateFolder(tmp_path, 0),
        ):
            pass
        other.kill()
    with StateFolder(tmp_path, 0) as folder:  # a dead one's claim is void
        folder.claim()


@pytest.mark.parametrize("text", ["", "7", "{}", '{"pid": 1}', '{"pid": 1, "other": 2}'])
def test_a_damaged_claim_is_none(tmp_path: Path, text: str) -> None:
    """Its writer was killed while writing."""
    path = tmp_path / "rank-0.pid"
    path.write_text(text)
    assert pid_file.read(path) is None


def test_a_claim_on_a_pid_that_never_was(tmp_path: Path) -> None:
    """A number from somewhere else."""
    assert not pid_file.PidFile(2**31 - 7, 0.0).alive


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """One line, and what to do."""
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(SettingsError, match="choose another --state-dir"), StateFolder(path, 0):
        pass
    with pytest.raises(SettingsError, match="can't write the log file"):
        LogFile(path / "rank-0.log")


def test_a_claim_that_cannot_be_written(tmp_path: Path) -> None:
    """The folder is gone: say so instead of running without a claim."""
    with StateFolder(tmp_path / "state", 0) as folder:
        (tmp_path / "state" / "rank-0.log").unlink()
        (tmp_path / "state").rmdir()
        with pytest.raises(SettingsError, match="can't write"):
            folder.claim()


def test_without_a_folder_the_log_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """For whoever starts a daemon by hand."""
    with StateFolder(None, 0) as folder:
        folder.claim()
        folder.log.write("hello")
    assert capsys.readouterr().err == "hello\n"
