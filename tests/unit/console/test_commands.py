"""Flags: what they become, and how mistakes are told in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from daemon import settings
from daemon.errors import SettingsError
from mlxconsole import cli
from mlxconsole.commands.target import control_address
from mlxconsole.commands.up import chosen_settings, farewell, program
from mlxconsole.source import seeded

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings


def chosen(*flags: str, environ: dict[str, str] | None = None) -> Settings:
    """Settings that `up` with these flags would start."""
    return chosen_settings(cli.parser().parse_args(["up", *flags]), environ or {})


def test_up_starts_two_demo_ranks_unless_told_otherwise() -> None:
    """The documented defaults."""
    made = chosen()
    assert made.world_size == 2
    assert made.cluster.model == "demo"
    assert [(r.port, r.control_port) for r in made.ranks] == [(50100, 50200), (50101, 50201)]
    assert made.api.port == 8100


def test_flags_move_every_port() -> None:
    """Several clusters side by side."""
    made = chosen("--ranks", "3", "--port", "1", "--grpc-port", "100", "--control-port", "200")
    assert [(r.port, r.control_port) for r in made.ranks] == [(100, 200), (101, 201), (102, 202)]
    assert made.api.port == 1


def test_flags_for_ranks_on_a_cpu() -> None:
    """They become settings that every rank reads."""
    engine = chosen("--cpu-kernels", "off", "--threads", "3").engine
    assert (engine.cpu_kernels, engine.threads, engine.pin) == ("off", 3, False)
    engine = chosen("--pin", "--threads", "1", "--ranks", "1").engine
    assert (engine.cpu_kernels, engine.threads, engine.pin) == ("auto", 1, True)


def test_pinning_more_ranks_than_cores_is_refused_at_once() -> None:
    """Before any process is started."""
    with pytest.raises(SettingsError, match=r"engine\.pin"):
        chosen("--pin", "--threads", "5000")


def test_a_file_decides_unless_flags_do(tmp_path: Path) -> None:
    """--ranks on top of a file keeps the file's first ports."""
    path = tmp_path / "cluster.toml"
    path.write_text("[api]\nport = 9\n[[ranks]]\nport = 600\n[[ranks]]\nport = 700\n")
    assert [r.port for r in chosen("--config", str(path)).ranks] == [600, 700]
    made = chosen("--config", str(path), "--ranks", "3", "--port", "8")
    assert [r.port for r in made.ranks] == [600, 601, 602]
    assert made.api.port == 8
    assert chosen("--config", str(path), "--control-port", "900").world_size == 2


def test_flags_beat_the_environment() -> None:
    """As everywhere."""
    environ = {"MLXCONSOLE_API_PORT": "7000", "MLXCONSOLE_CLUSTER_NAME": "lab"}
    made = chosen("--port", "7001", environ=environ)
    assert (made.api.port, made.cluster.name) == (7001, "lab")


def test_a_model_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemons do not run where `up` was typed."""
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert chosen("--model", "model").cluster.model == str(tmp_path / "model")
    assert chosen("--model", "some/body").cluster.model == "some/body"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["up", "--ranks", "0"], 1, "at least 1 rank, not 0: use --ranks 1 or more"),
        (["up", "--config", "/absent.toml"], 1, "can't read /absent.toml"),
        (["--connect", "nonsense", "status"], 1, "write HOST:CONTROL_PORT"),
        (["status"], 1, "start one with `mlxconsole up --state-dir"),
        (["--once", "--json"], 1, "no cluster runs in"),
        (["restart", "0"], 1, "no cluster runs in"),
        ([], 1, "the console needs a terminal"),
        (["up", "--port", "70000"], 1, "ports go from 1 to 65535"),
        (["replay", "/nope"], 1, "can't read /nope: No such file"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    code: int,
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What, where, what to do; never a traceback."""
    anywhere = "--connect" in arguments or "replay" in arguments
    where = [] if anywhere else ["--state-dir", str(tmp_path / "none")]
    assert cli.main([*arguments, *where]) == code
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_wrong_flags_are_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as argparse has it."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["up", "--ranks", "two"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error == (
        "mlxconsole: argument --ranks: invalid int value: 'two': see `mlxconsole up --help`\n"
    )


@pytest.mark.parametrize(
    ("command", "short"),
    [
        ("up", "--rank=2"),
        ("up", "--det"),
        ("down", "--state=x"),
        ("why", "--sec=1"),
        ("", "--vers"),
    ],
)
def test_a_flag_is_written_in_full(
    command: str, short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--rank 2` is somebody's mistake, not two ranks."""
    with pytest.raises(SystemExit) as caught:
        cli.main([word for word in (command, short) if word])
    assert caught.value.code == 2
    assert f"unrecognized arguments: {short}" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    """`mlxconsole bench --list | head -0` has got what it wanted."""
    command = [sys.executable, "-m", "mlxconsole.cli", "bench", "--list"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_down_without_a_cluster_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says so."""
    assert cli.main(["down", "--state-dir", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == "nothing is running\n"
    assert not (tmp_path / "none").exists()


def test_target_flags_work_before_and_after_the_command() -> None:
    """Nobody remembers where they belong."""
    for line in (["--state-dir", "x", "status"], ["status", "--state-dir", "x"]):
        assert str(cli.parser().parse_args(line).state_dir) == "x"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:50200", ("127.0.0.1", 50200)), ("[::1]:50201", ("::1", 50201))],
)
def test_control_addresses(text: str, address: tuple[str, int]) -> None:
    """IPv4, names, IPv6 in brackets."""
    assert control_address(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:99999", "host:http"])
def test_bad_control_addresses(text: str) -> None:
    """One line with an example."""
    with pytest.raises(SettingsError, match="as in"):
        control_address(text)


def test_the_farewell_can_be_pasted() -> None:
    """The curl line is quoted for a shell."""
    text = farewell(seeded.cluster(2), "it's", "mlxconsole down")
    assert "Ready: http://127.0.0.1:8100/v1" in text
    assert "curl http://127.0.0.1:8100/v1/chat/completions" in text
    assert """it'"'"'s""" in text
    assert text.endswith("End it: mlxconsole down")


def test_commands_to_paste_are_found_by_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From launch/up the command is not on the path: its place is named then."""
    installed = tmp_path / "mlxconsole"
    installed.write_text("")
    installed.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program(str(installed)) == str(installed)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program(str(installed)) == "mlxconsole"
    assert program("/x/pytest") == "mlxconsole"


def test_defaults_are_the_documented_ports() -> None:
    """README, DESIGN.md and code agree."""
    assert (settings.API_PORT, settings.DATA_PORT, settings.CONTROL_PORT) == (8100, 50100, 50200)
