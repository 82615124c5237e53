"""`mlx-daemon`: what a wrong call says, in one line, and which exit code it gives."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from daemon import __version__, cli
from daemon.settings_text import to_toml
from tests.unit.supervision.harness import make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _keep_ctrl_c() -> Iterator[None]:
    """The command takes SIGINT's default; the test run keeps its own."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def call(*arguments: str) -> int:
    """The exit code, however it comes."""
    try:
        return cli.main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """For bug reports."""
    assert call("--version") == 0
    assert capsys.readouterr().out == f"mlx-daemon {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "required: --rank"),
        (("--rank", "first"), "invalid int value: 'first'"),
        (("--rank", "0", "--colour"), "unrecognized arguments: --colour"),
        (("--rank", "0", "--conf", "x"), "unrecognized arguments: --conf x"),
        (("--rank", "0", "--log-level", "LOUD"), "invalid choice: 'LOUD'"),
        (("--rank", "0", "--config", "/nowhere/cluster.toml"), "can't read /nowhere/cluster.toml"),
        (("--rank", "1"), "rank 1 is outside the world"),
        (("--rank", "-1"), "rank -1 is outside the world"),
        (("selfcheck", "--model", "x", "--all-architectures"), "not allowed with"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No usage text of ten lines, no traceback."""
    monkeypatch.setattr(sys, "argv", ["mlx-daemon"])
    assert call(*arguments) == cli.EXIT_USAGE
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("mlx-daemon")
    assert error.count("\n") == 1


def test_an_unknown_key_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The settings' own words arrive."""
    config = tmp_path / "cluster.toml"
    config.write_text("[api]\nprot = 1\n")
    assert call("--rank", "0", "--config", str(config)) == cli.EXIT_USAGE
    assert f"{config}:2: unknown key 'prot'" in capsys.readouterr().err


def test_the_environment_beats_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is checked like it."""
    config = tmp_path / "cluster.toml"
    config.write_text(to_toml(make_settings()))
    monkeypatch.setenv("MLXCONSOLE_ENGINE_MAX_SEQUENCES", "0")
    assert call("--rank", "0", "--config", str(config)) == cli.EXIT_USAGE
    assert "engine.max_sequences is 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), (None, False)),
        (("--model", "demo"), ("demo", False)),
        (("--all-architectures",), (None, True)),
    ],
)
def test_selfcheck_is_passed_on(
    arguments: tuple[str, ...],
    expected: tuple[str | None, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its result is the exit code."""
    seen: list[tuple[str | None, bool]] = []

    def run(model: str | None, all_architectures: bool) -> int:
        seen.append((model, all_architectures))
        return 1

    fake = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "daemon.execution", SimpleNamespace(selfcheck=fake))
    monkeypatch.setitem(sys.modules, "daemon.execution.selfcheck", fake)
    assert call("selfcheck", *arguments) == 1
    assert seen == [expected]
