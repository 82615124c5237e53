"""The chaos command on a real cluster, for a few seconds: CI's share of the long runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.running_cluster import mlxconsole

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.integration
def test_a_short_run_finds_nothing_but_pauses(tmp_path: Path) -> None:
    """The longer ones are in docs/chaos-report.md."""
    report = tmp_path / "report.md"
    faults = "kill_follower,kill_leader,reset_link,kill_other,restart"
    run = ("chaos", "--minutes", "0.2", "--seed", "3", "--streams", "4", "--only", faults)
    done = mlxconsole(*run, "--report", str(report), timeout_s=110)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    text = report.read_text(encoding="utf-8")
    assert "**passed**" in text
    assert "0 different or failed" in text
    assert text in done.stdout


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--ranks", "1"), "--ranks 1: chaos needs at least 2"),
        (("--streams", "0"), "must be over 0"),
        (("--only", "earthquake"), "--only earthquake: no such fault; there are kill_follower"),
    ],
)
def test_flags_that_make_no_sense(flags: tuple[str, ...], complaint: str) -> None:
    """One line, before anything is started."""
    done = mlxconsole("chaos", *flags)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
