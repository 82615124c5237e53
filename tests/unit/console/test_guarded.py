"""The last gate before an action: read-only, and the audit file."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from daemon.errors import SettingsError, StaleGeneration
from mlxconsole.source import seeded
from mlxconsole.source.base import Action
from mlxconsole.source.fake import FakeSource
from mlxconsole.source.guarded import GuardedSource, on_loopback

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.2", True), ("localhost", True), ("::1", True), ("10.0.0.7", False), ("gpu", False)],
)
def test_where_a_cluster_is(host: str, here: bool) -> None:
    """One rank elsewhere makes it somebody else's too."""
    cluster = seeded.cluster(2)
    members = (cluster.members[0], replace(cluster.members[1], host=host))
    assert on_loopback(replace(cluster, members=members)) == here


async def test_a_read_only_source_calls_nobody(tmp_path: Path) -> None:
    """Whatever the screen offers."""
    inner = FakeSource(seeded.cluster(1))
    guarded = GuardedSource(inner, read_only=True, audit=tmp_path / "audit")
    with pytest.raises(SettingsError, match="--allow-actions"):
        await guarded.act(Action("restart", 0, 1))
    assert inner.acts == []
    assert not (tmp_path / "audit").exists()


async def test_every_action_is_recorded_before_and_after(tmp_path: Path) -> None:
    """Who, what, when, on which generation, and how it ended."""
    inner = FakeSource(seeded.cluster(1))
    audit = tmp_path / "new" / "audit.ndjson"
    guarded = GuardedSource(inner, read_only=False, audit=audit)
    await guarded.act(Action("restart", 0, 4))
    inner.refusal = StaleGeneration("generation 5 by now")
    with pytest.raises(StaleGeneration):
        await guarded.act(Action("restart", 0, 4))
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == [
        "asked",
        "done: rank 0: restart begins",
        "asked",
        "refused: generation 5 by now",
    ]
    assert {(line["action"], line["rank"], line["generation"]) for line in lines} == {
        ("restart", 0, 4)
    }
    assert audit.stat().st_mode & 0o777 == 0o600


async def test_what_cannot_be_recorded_is_not_done(tmp_path: Path) -> None:
    """An audit with holes is none."""
    inner = FakeSource(seeded.cluster(1))
    (tmp_path / "file").write_text("")
    guarded = GuardedSource(inner, read_only=False, audit=tmp_path / "file" / "audit")
    with pytest.raises(SettingsError, match="can't record"):
        await guarded.act(Action("restart", 0, 1))
    assert inner.acts == []
