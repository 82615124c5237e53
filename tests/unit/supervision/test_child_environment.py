"""What children find in their environment beyond their parent's."""

from __future__ import annotations

import sys

import pytest

from daemon.supervision.supervisor import child_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")


def test_weights_get_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """One core reads them faster."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert child_environment()["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"


def test_the_operator_s_own_word_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tunes the allocator knows why."""
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    assert child_environment()["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=0"
