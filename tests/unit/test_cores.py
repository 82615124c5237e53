"""Ranks of one host share its cores, or get cores of their own."""

from __future__ import annotations

import dataclasses
import os
import sys

import pytest

from daemon import cores
from daemon.cores import Cores
from daemon.errors import SettingsError
from daemon.settings import RankPart, Settings
from daemon.settings_check import check


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four cores, some of which this process may not use."""
    monkeypatch.setattr(cores, "allowed_cores", lambda: [0, 2, 4, 6])
    monkeypatch.setattr(sys, "platform", "linux")


def _settings(hosts: list[str], threads: int = 0, *, pin: bool = False) -> Settings:
    plain = Settings()
    ranks = tuple(RankPart(host, 1000 + r, 2000 + r) for r, host in enumerate(hosts))
    cluster = dataclasses.replace(plain.cluster, insecure=True)
    engine = dataclasses.replace(plain.engine, threads=threads, pin=pin)
    return check(dataclasses.replace(plain, cluster=cluster, engine=engine, ranks=ranks))


def test_ranks_of_a_host_share_its_cores() -> None:
    """Another host has cores of its own; more ranks than cores get one thread each."""
    assert Cores.of(_settings(["a"]), 0) == Cores(4)
    assert Cores.of(_settings(["a", "a", "b"]), 0) == Cores(2)
    assert Cores.of(_settings(["a", "a", "b"]), 2) == Cores(4)
    assert Cores.of(_settings(["a"] * 8), 7) == Cores(1)


def test_threads_as_told() -> None:
    """The operator knows what else runs there."""
    assert Cores.of(_settings(["a", "a"], threads=3), 1) == Cores(3)


def test_pinned_ranks_never_share_a_core() -> None:
    """Each gets a run of the cores that are allowed here."""
    two = [Cores.of(_settings(["a", "b", "a"], pin=True), rank) for rank in (0, 2)]
    assert two == [Cores(2, (0, 2)), Cores(2, (4, 6))]
    assert Cores.of(_settings(["a", "a"], threads=1, pin=True), 1) == Cores(1, (2,))


def test_too_few_cores_to_pin_to() -> None:
    """The message says how many are needed and what to do."""
    with pytest.raises(SettingsError, match="need 5, and this machine offers 4: use fewer ranks"):
        Cores.of(_settings(["a"] * 5, pin=True), 0)
    with pytest.raises(SettingsError, match="need 6"):
        Cores.of(_settings(["a", "a"], threads=3, pin=True), 0)


def test_pinning_is_for_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS has no call for it."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SettingsError, match="only Linux"):
        Cores.of(_settings(["a"], pin=True), 0)


def test_pin_asks_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this thread and what it starts; without cores of its own nothing is asked."""
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, own: asked.append(own), raising=False)
    Cores(2).pin()
    Cores(2, (4, 6)).pin()
    assert asked == [(4, 6)]
