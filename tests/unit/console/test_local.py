"""The state folder, process marks and the checks before a start."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from daemon import settings, settings_text
from daemon.errors import ModelError, SettingsError, StartFailed
from mlxconsole.local import daemons, preflight, process_mark
from mlxconsole.local.process_mark import ProcessMark
from mlxconsole.local.state_dir import StateDir, default_path

if TYPE_CHECKING:
    from collections.abc import Iterator

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends at SIGTERM."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def marked(pid: int) -> ProcessMark:
    """The mark of a process that is known to run."""
    mark = ProcessMark.of(pid)
    assert mark is not None
    return mark


def test_a_mark_finds_its_process_and_no_other(sleeper: subprocess.Popen[bytes]) -> None:
    """A pid is used again one day: the birth tells."""
    mark = marked(sleeper.pid)
    assert mark.find() is not None
    assert dataclasses.replace(mark, create_time_s=mark.create_time_s - 60).find() is None
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert mark.find() is None, "a zombie does not run"
    sleeper.wait()
    assert ProcessMark.of(sleeper.pid) is None


def test_end_asks_first(sleeper: subprocess.Popen[bytes]) -> None:
    """SIGTERM is enough for those who listen."""
    assert process_mark.end([marked(sleeper.pid)], 10.0) == []
    assert not psutil.pid_exists(sleeper.pid)


def test_end_kills_the_stubborn_and_their_children() -> None:
    """Nothing is left, whoever ignores what."""
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.stdout.close()
    marks = [marked(process.pid), marked(child)]
    assert process_mark.end(marks[:1], 0.2) == []
    assert [mark.find() for mark in marks] == [None, None]
    process.wait()


def test_end_of_nothing_is_nothing() -> None:
    """`down` may be repeated."""
    assert process_mark.end([ProcessMark(2**22 - 1, 1.0)], 0.1) == []


def test_the_state_folder_remembers_settings_and_processes(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """What `down` and `status` need to find the cluster again."""
    state = StateDir(tmp_path / "deep" / "state")
    assert state.settings() is None
    assert state.marks() == {}
    values = settings_text.load(None, {}, ranks=settings.local_ranks(2, 5000, 6000))
    state.write_settings(values)
    assert state.settings() == values
    assert state.path.stat().st_mode & 0o077 == 0, "only its owner may read it"
    state.mark(1, marked(sleeper.pid))
    assert state.marks() == {1: marked(sleeper.pid)}
    state.output(0).write_text("kept")
    state.clear()
    assert state.settings() is None
    assert state.marks() == {}
    assert state.output(0).exists()


def test_damaged_pid_files_are_no_processes(tmp_path: Path) -> None:
    """Whoever wrote them died while writing."""
    state = StateDir(tmp_path)
    for rank, text in enumerate(("", "{", "[]", '{"pid": 1}', '{"pid": "x", "create_time_s": 1}')):
        state.pid_file(rank).write_text(text)
    assert state.marks() == {}


def test_only_one_command_works_on_a_state(tmp_path: Path) -> None:
    """Two starts at the same moment must not both succeed."""
    state = StateDir(tmp_path)
    with (
        state.lock(),
        pytest.raises(StartFailed, match="another mlxconsole"),
        StateDir(tmp_path).lock(),
    ):
        pass
    with state.lock():
        pass


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands in its way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartFailed, match="choose another --state-dir"):
        StateDir(tmp_path / "file" / "state").write_settings(settings.Settings())


def test_the_usual_state_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform keeps such things."""
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert default_path().parts[-2:] == ("mlxconsole", "default")
    assert StateDir(default_path()).flag == ""
    assert StateDir(Path("/a b")).flag == " --state-dir '/a b'"


def test_a_live_state_is_refused(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """And the line says how to go on."""
    state = StateDir(tmp_path)
    values = settings_text.load(None, {}, ranks=settings.local_ranks(1, 5000, 6000))
    assert preflight.ranks_to_start(state, values) == [0]
    state.write_settings(values)
    state.mark(0, marked(sleeper.pid))
    with pytest.raises(StartFailed, match=r"rank 0\): end it with `mlxconsole down --state-dir"):
        preflight.ranks_to_start(state, values)


def test_a_cluster_that_lacks_a_daemon_is_completed_by_its_own_settings_only(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """Somebody killed a supervisor: the others go on, and the line says how to get it back."""
    state = StateDir(tmp_path)
    values = settings_text.load(None, {}, ranks=settings.local_ranks(3, 5000, 6000))
    state.write_settings(values)
    state.mark(1, marked(sleeper.pid))
    assert preflight.ranks_to_start(state, values) == [0, 2]
    other = settings_text.load(None, {}, ranks=settings.local_ranks(3, 7000, 8000))
    with pytest.raises(StartFailed) as refused:
        preflight.ranks_to_start(state, other)
    assert "(rank 1): start rank 0, 2 again with" in str(refused.value)
    again = f"`mlxconsole up --config {state.config} --state-dir {state}`"
    assert again in str(refused.value)


def test_a_completing_start_ends_only_what_it_started(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """The ranks that ran before go on."""
    state = StateDir(tmp_path)
    state.mark(0, marked(sleeper.pid))
    mine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    state.mark(1, marked(mine.pid))
    daemons.end_some(state, [daemons.Daemon(1, mine, state.output(1))], 5.0)
    assert marked(sleeper.pid).find() is not None
    assert not psutil.pid_exists(mine.pid)
    assert state.marks() == {0: marked(sleeper.pid)}
    mine.wait()


def test_ranks_of_other_machines_are_refused() -> None:
    """`up` can't start them; the line says what does."""
    far = settings_text.load(
        None, {}, cluster_insecure=True, ranks=[settings.RankPart(), settings.RankPart("192.0.2.7")]
    )
    with pytest.raises(SettingsError, match=r"rank 1 belongs on 192.0.2.7.*mlx-daemon --rank 1"):
        preflight.check_hosts(far)
    preflight.check_hosts(settings_text.load(None, {}, ranks=settings.local_ranks(2, 5000, 6000)))


def test_bad_models_are_refused_before_anything_starts(tmp_path: Path) -> None:
    """Unknown path, no model, damaged, too few layers."""
    with pytest.raises(ModelError, match="no such folder"):
        preflight.check_model(str(tmp_path / "absent"), 1)
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        preflight.check_model(str(tmp_path), 1)
    config = tmp_path / "config.json"
    for text in ("{", "[]"):
        config.write_text(text)
        with pytest.raises(ModelError, match="is the model complete"):
            preflight.check_model(str(tmp_path), 1)
    config.write_text(json.dumps({"num_hidden_layers": 4}))
    preflight.check_model(str(tmp_path), 4)
    with pytest.raises(ModelError, match="has 4 layers, too few for 5 ranks: use --ranks 4"):
        preflight.check_model(str(tmp_path), 5)
    config.write_text(json.dumps({"text_config": {"num_hidden_layers": 3}}))
    assert preflight.layer_count(tmp_path) == 3
    config.write_text("{}")
    preflight.check_model(str(tmp_path), 99)


def test_a_hub_id_is_left_to_the_workers() -> None:
    """They download it, or say why they can't."""
    preflight.check_model("somebody/some-model", 99)
    assert not preflight.may_be_hub_id("./somebody")
    assert not preflight.may_be_hub_id("demo")


def test_last_words_are_the_last_line_or_the_exit_code(tmp_path: Path) -> None:
    """What a supervisor printed before it ended at once."""
    output = tmp_path / "rank-0.out"
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    daemon = daemons.Daemon(0, process, output)
    output.write_text("")
    assert daemon.last_words() == "exit code 3"
    output.write_text("first\nmlx-daemon: port 1 is taken\n\n")
    assert daemon.last_words() == "mlx-daemon: port 1 is taken"
