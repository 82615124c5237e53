"""launch/up, launch/down: when they prepare the environment, and what they say if they can't.

The scripts are real, in a copy of the folder; Python is a stub that records what it is asked for.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

STUB = r"""#!/usr/bin/env bash
# Stands in for python3: CALLS takes what is asked for, OLD and PIP_FAILS make it misbehave.
case "$*" in
    "-c "*) [ -z "${OLD:-}" ] ;;
    --version) echo "Python 3.12.0" ;;
    "-m venv --clear "*)
        echo "venv" >>"$CALLS"
        rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
    "-m pip --version") ;;
    "-m pip install"*)
        echo "pip ${*: -1}" >>"$CALLS"
        [ -z "${PIP_FAILS:-}" ] || exit 1
        printf '#!/bin/sh\necho "mlxconsole $*"\n' >"$(dirname "$0")/mlxconsole"
        chmod +x "$(dirname "$0")/mlxconsole" ;;
    *) echo "unexpected: $*" >>"$CALLS"; exit 1 ;;
esac
"""


INSTALLED = ["pip ROOT/requirements.lock", "pip ROOT"]
"""What is needed, by the lock, then the project itself."""


class Clone:
    """A copy of the launch folder beside a stub Python."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        shutil.copytree(ROOT / "launch", self.root / "launch")
        self.pyproject = self.root / "pyproject.toml"
        self.pyproject.write_text("[project]\n")
        self.lock = self.root / "requirements.lock"
        for lock in (self.lock, self.root / "requirements-dev.lock"):
            lock.write_text("textual==1\n")
        self._calls = folder / "calls"
        self._bin = folder / "bin"
        self._bin.mkdir()
        stub = self._bin / "python3"
        stub.write_text(STUB)
        stub.chmod(0o755)
        for tool in ("bash", "dirname", "basename", "cksum", "cat", "rm", "mkdir", "cp", "chmod"):
            found = shutil.which(tool)
            assert found
            (self._bin / tool).symlink_to(found)

    def run(self, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a script with nothing but the stub on the path."""
        return subprocess.run(
            [str(self._bin / "bash"), str(self.root / "launch" / script), *arguments],
            env={"PATH": str(self._bin), "CALLS": str(self._calls)} | environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def calls(self) -> list[str]:
        """What the stub was asked for since the last look."""
        made = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return [call.replace(str(self.root), "ROOT") for call in made]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone."""
    return Clone(tmp_path)


def test_the_first_start_prepares_and_the_second_does_not(clone: Clone) -> None:
    """Running pip costs seconds even when there is nothing to do; flags pass through untouched."""
    first = clone.run("up", "--ranks", "2", "--model", "a b")
    assert first.stdout == "mlxconsole up --ranks 2 --model a b\n"
    assert "Installing mlxconsole" in first.stderr
    assert clone.calls() == ["venv", *INSTALLED]
    second = clone.run("up")
    assert (second.stdout, second.stderr) == ("mlxconsole up\n", "")
    assert clone.calls() == []


def test_a_changed_pyproject_is_installed_again(clone: Clone) -> None:
    """After `git pull`; the environment itself stays."""
    clone.run("up")
    clone.calls()
    clone.pyproject.write_text("[project]\nname = 'other'\n")
    clone.run("up")
    assert clone.calls() == INSTALLED


def test_a_changed_lock_is_installed_again(clone: Clone) -> None:
    """The versions of what it needs are part of what was installed."""
    clone.run("up")
    clone.calls()
    clone.lock.write_text("textual==2\n")
    clone.run("up")
    assert clone.calls() == INSTALLED


def test_a_development_environment_serves_up_too(clone: Clone) -> None:
    """But not the other way round."""
    (clone.root / ".venv").mkdir()
    clone.run("up")
    clone.calls()
    clone.run("test")
    assert clone.calls()[:2] == ["pip ROOT/requirements-dev.lock", "pip ROOT"]
    clone.run("up")
    assert clone.calls() == []


def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    """Without a stamp; and nothing is started on half an environment."""
    failed = clone.run("up", PIP_FAILS="1")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.splitlines()[-1].startswith("up: the installation failed")
    clone.calls()
    assert clone.run("up").stdout == "mlxconsole up\n"
    assert clone.calls() == INSTALLED


def test_an_old_python_is_refused_with_a_way_out(clone: Clone) -> None:
    """One line, before anything is made."""
    refused = clone.run("up", OLD="1")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "up: no Python >= 3.11 found: install one, or name it: PYTHON="
    )
    assert refused.stderr.count("\n") == 1
    assert not (clone.root / ".venv").exists()


def test_down_needs_no_environment(clone: Clone) -> None:
    """Nothing was ever started: success, and nothing is prepared."""
    done = clone.run("down", "--state-dir", "x")
    assert done.returncode == 0
    assert done.stdout.startswith("nothing is running")
    clone.run("up")
    assert clone.run("down", "--state-dir", "x").stdout == "mlxconsole down --state-dir x\n"
