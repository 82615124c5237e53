"""`up`, `down`, `status`, `restart` with real supervisors and fake workers: every way it can end.

After each test nothing may be left: no process with the state folder on its command line, no
listener on the cluster's ports.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from daemon import ports
from mlxconsole.local.state_dir import StateDir
from tests.support.fake_ranks import REPOSITORY, command, run
from tests.support.ports import free_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

LIMIT_S = 30.0
RANKS = 2


class Place:
    """A state folder and a block of ports for one cluster."""

    def __init__(self, path: Path) -> None:
        self.state = StateDir(path)
        self.first = free_block(2 * RANKS + 1)

    @property
    def up_flags(self) -> list[str]:
        """Flags of an `up` that stays within this place."""
        firsts = (self.first, self.first + 1, self.first + 1 + RANKS)
        names = ("--port", "--grpc-port", "--control-port")
        pairs = zip(names, map(str, firsts), strict=True)
        return ["up", *(word for pair in pairs for word in pair), *self.flags]

    @property
    def flags(self) -> list[str]:
        """Which state any command is about."""
        return ["--state-dir", str(self.state)]

    @property
    def control_address(self) -> str:
        """For --connect."""
        return f"127.0.0.1:{self.first + 1 + RANKS}"

    def up(self, behaviour: str = "obey", *more: str) -> subprocess.CompletedProcess[str]:
        """`mlxconsole up --detach`."""
        return run(behaviour, *self.up_flags, "--detach", *more)

    def mlxconsole(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any other command on this state."""
        return run("obey", *arguments, *self.flags)

    def processes(self) -> list[psutil.Process]:
        """Whatever belongs to this cluster: supervisors by their state, children by their spec."""
        port = f'"port":{self.first},'
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.state) in w or port in w for w in process.info["cmdline"] or ())
        ]

    def nothing_left(self) -> None:
        """Fail unless processes and ports are gone."""
        wait_until(lambda: not self.processes())
        for port in range(self.first, self.first + 2 * RANKS + 1):
            ports.check_free("127.0.0.1", port, "a port of the test")
        assert not self.state.config.exists()
        assert self.state.marks() == {}


def wait_until(true: Callable[[], object]) -> None:
    """Wait for a condition, within a limit."""
    deadline_s = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place that is empty again after the test."""
    made = Place(tmp_path / "state")
    try:
        yield made
        made.mlxconsole("down")
        made.nothing_left()
    finally:
        for process in made.processes():
            process.kill()


def test_up_says_how_to_use_and_end_the_cluster(place: Place) -> None:
    """And `status`, `--once`, a second `up` and `down` tell the truth about it."""
    started = place.up()
    assert started.returncode == 0, started.stderr
    assert "rank 1: READY" in started.stderr
    assert f"curl http://127.0.0.1:{place.first}/v1/chat/completions" in started.stdout
    assert f"mlxconsole down --state-dir {place.state}" in started.stdout

    status = place.mlxconsole("status")
    assert status.returncode == 0, status.stdout
    assert "READY" in status.stdout

    document = json.loads(place.mlxconsole("--once", "--json").stdout)
    assert [rank["state"] for rank in document["ranks"]] == ["READY", "READY"]
    assert all(psutil.pid_exists(rank["pid"]) for rank in document["ranks"])
    assert "Rank 1 at" in place.mlxconsole("--once", "--plain").stdout

    second = place.up()
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "or give this one its own --state-dir" in second.stderr

    assert place.mlxconsole("down").stdout == "2 ranks ended\n"
    place.nothing_left()
    assert place.mlxconsole("down").stdout == "nothing is running\n"
    assert place.mlxconsole("status").returncode == 1


def test_a_taken_port_stops_the_start_before_it_begins(place: Place, tmp_path: Path) -> None:
    """Another state, same ports: the line names the port and who has it."""
    assert place.up().returncode == 0
    other = Place(tmp_path / "other")
    other.first = place.first
    refused = other.up()
    assert refused.returncode == 1
    assert f"rank 0 control_port {place.control_address} is taken by process" in refused.stderr
    assert refused.stderr.count("is taken by process") > 1
    assert "choose others with --control-port, or" in refused.stderr
    assert f"or free them: `mlxconsole down --state-dir {place.state}`\n" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not other.state.config.exists()
    assert not other.state.output(0).exists(), "no process was started"


def test_restart_carries_a_generation(place: Place) -> None:
    """The stale one is refused, in one line; the present one works."""
    assert place.up().returncode == 0
    stale = place.mlxconsole("restart", "1", "--generation", "7")
    assert stale.returncode == 1
    assert stale.stderr.count("\n") == 1
    assert place.mlxconsole("restart", "1").returncode == 0

    def restarted() -> bool:
        rank = json.loads(place.mlxconsole("--once", "--json").stdout)["ranks"][1]
        return (rank["generation"], rank["state"]) == (2, "READY")

    wait_until(restarted)
    unknown = place.mlxconsole("restart", "5")
    assert unknown.returncode == 1
    assert "ranks 0 to 1" in unknown.stderr


def test_connect_needs_no_state(place: Place) -> None:
    """One rank's control port is enough to see and to end the cluster."""
    assert place.up().returncode == 0
    connect = ("--connect", place.control_address)
    assert run("obey", "status", *connect).returncode == 0
    document = json.loads(run("obey", "--once", "--json", *connect).stdout)
    assert [rank["state"] for rank in document["ranks"]] == ["READY", "READY"]
    assert run("obey", "down", *connect).stdout == "2 ranks ended\n"
    wait_until(lambda: not place.processes())
    nobody = run("obey", "status", *connect)
    assert nobody.returncode == 1
    assert "no daemon answers at" in nobody.stderr


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("hopeless", "model folder /nowhere is no model"), ("die", "no luck in generation")],
)
def test_a_failed_rank_fails_the_start_with_its_reason(
    place: Place, behaviour: str, reason: str
) -> None:
    """The last line says why; everything is taken down."""
    config = place.state.path.parent / "cluster.toml"
    config.write_text("[limits]\nrestart_backoff_s = 0.02\nmax_quick_deaths = 2\n")
    failed = place.up(behaviour, "--config", str(config), "--ranks", "2")
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("mlxconsole: rank ")
    assert reason in last
    place.nothing_left()


def test_a_failed_api_fails_the_start_with_its_reason(place: Place) -> None:
    """Ranks that are READY and report on don't keep the start from ending."""
    failed = place.up("obey,hopeless")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "mlxconsole: the API process failed: model folder /nowhere is no model"
    )
    place.nothing_left()


def test_a_start_that_takes_too_long_is_given_up(place: Place) -> None:
    """With what it was waiting for."""
    failed = place.up("silent", "--timeout", "1.5")
    assert failed.returncode == 1
    assert "not ready after 1.5 s (rank 0 STARTING" in failed.stderr.splitlines()[-1]
    place.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["spawning", "starting"])
def test_an_interrupted_start_leaves_nothing(
    place: Place, number: signal.Signals, moment: str
) -> None:
    """Ctrl-C at any moment: when the settings have just been written, and while ranks start."""
    process = subprocess.Popen(
        command("silent", *place.up_flags, "--detach"),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    if moment == "spawning":
        wait_until(place.state.config.exists)
    else:
        assert "STARTING" in process.stderr.readline()
    process.send_signal(number)
    if moment == "starting":
        process.send_signal(number)  # impatience must not break the cleaning up
    _, complaint = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 128 + number
    assert complaint.splitlines()[-1] == (
        f"mlxconsole: interrupted by {number.name}: nothing is left running"
    )
    place.nothing_left()


def test_a_stopped_supervisor_is_ended_too(place: Place) -> None:
    """One that can't answer is killed; its worker follows by itself."""
    assert place.up().returncode == 0
    mark = place.state.marks()[1]
    os.kill(mark.pid, signal.SIGSTOP)
    assert place.mlxconsole("down").returncode == 0
    place.nothing_left()


def kill_supervisor(place: Place, rank: int) -> dict[str, Any]:
    """Kill it, and wait until its worker has followed; the document of before."""
    document = json.loads(place.mlxconsole("--once", "--json").stdout)
    os.kill(document["ranks"][rank]["supervisor_pid"], signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(document["ranks"][rank]["pid"]))
    return document


@pytest.mark.parametrize("rank", range(RANKS))
def test_up_starts_a_killed_supervisor_again_and_leaves_the_others_alone(
    place: Place, rank: int
) -> None:
    """`status` and `restart` name the very command, which does it."""
    assert place.up().returncode == 0
    before = kill_supervisor(place, rank)
    again = f"mlxconsole up --config {place.state.config} --state-dir {place.state}"
    status = place.mlxconsole("status")
    assert status.returncode == 1
    assert f"rank {rank}: no answer on" in status.stdout
    assert again in status.stdout
    refused = place.mlxconsole("restart", str(rank))
    assert refused.returncode == 1
    assert again in refused.stderr
    completed = run("obey", *again.split()[1:], "--detach")
    assert completed.returncode == 0, completed.stderr
    missing = f"the cluster runs without the daemon of rank {rank}: starting it\n"
    assert completed.stderr.startswith(missing)
    after = json.loads(place.mlxconsole("--once", "--json").stdout)
    assert [part["state"] for part in after["ranks"]] == ["READY", "READY"]
    other = 1 - rank
    for key in ("supervisor_pid", "pid", "generation"):
        assert after["ranks"][other][key] == before["ranks"][other][key]


def test_a_rank_that_cannot_be_started_again_costs_no_other(place: Place) -> None:
    """The start that failed ends what it began, and the cluster is as it was before."""
    assert place.up().returncode == 0
    kill_supervisor(place, 1)
    failed = place.up("silent", "--timeout", "1.5")
    assert failed.returncode == 1
    assert "not ready after 1.5 s" in failed.stderr.splitlines()[-1]
    ranks = json.loads(place.mlxconsole("--once", "--json").stdout)["ranks"]
    assert [rank["state"] for rank in ranks] == ["READY", "DOWN"]
    assert list(place.state.marks()) == [0]


def test_a_killed_supervisor_leaves_no_orphan_and_the_state_can_be_used_again(
    place: Place,
) -> None:
    """`status` says what is missing; `up` works again once the rest is down."""
    assert place.up().returncode == 0
    kill_supervisor(place, 1)
    status = place.mlxconsole("status")
    assert status.returncode == 1
    assert "rank 1: no answer on" in status.stdout
    assert place.mlxconsole("down").stdout == "1 rank ended\n"
    assert place.up().returncode == 0


def test_down_leaves_another_cluster_on_its_old_ports_alone(place: Place, tmp_path: Path) -> None:
    """A state whose cluster died long ago must not end the cluster that has its ports now."""
    dead = Place(tmp_path / "dead")
    dead.first = place.first
    assert place.up().returncode == 0
    settings = place.state.settings()
    assert settings is not None
    dead.state.write_settings(settings)
    assert dead.mlxconsole("down").stdout == "nothing is running\n"
    assert place.mlxconsole("status").returncode == 0


def test_on_a_terminal_up_opens_the_console(place: Place) -> None:
    """Leaving the console leaves the cluster running, and says so."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("obey", *place.up_flags),
        cwd=REPOSITORY,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(slave)
    output = b""

    def came(text: bytes) -> bool:
        nonlocal output
        if select.select([master], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):  # the console has ended
                output += os.read(master, 65536)
        return text in output

    wait_until(lambda: came(b"2/2 READY"))
    os.write(master, b"q")
    wait_until(lambda: came(b"The cluster still runs at"))
    assert process.wait(LIMIT_S) == 0
    os.close(master)
    assert b"rank 0 STARTING" in output
    assert place.mlxconsole("status").returncode == 0
