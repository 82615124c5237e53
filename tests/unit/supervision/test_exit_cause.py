"""Operators read how a process ended; the words must be right and on one line."""

from __future__ import annotations

import pytest

from daemon.supervision.exit_cause import Evidence, describe


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (Evidence(0), "exit code 0"),
        (Evidence(0, last_stderr_line="a warning"), "exit code 0"),
        (Evidence(-9), "killed by signal 9 (SIGKILL)"),
        (Evidence(-11, last_stderr_line="noise"), "killed by signal 11 (SIGSEGV)"),
        (Evidence(-6, last_stderr_line="what(): bad"), "killed by signal 6 (SIGABRT): what(): bad"),
        (Evidence(-63), "killed by signal 63 (unnamed)"),
        (Evidence(1, "ValueError: x"), "exit code 1: ValueError: x"),
        (Evidence(78, "noise", "no such model"), "exit code 78: no such model"),
        (Evidence(1, "MemoryError"), "exit code 1, out of memory: MemoryError"),
        (
            Evidence(-9, killed_by_us=True, kernel_oom_kills=1),
            "killed by signal 9 (SIGKILL) after its time to leave was over",
        ),
        (
            Evidence(-9, killed_by_us=True, killed_at_once=True),
            "killed by the operator, with signal 9 (SIGKILL)",
        ),
        (
            Evidence(-9, killed_by_us=True, stuck="no report for 2.0 s (it is stopped)"),
            "stuck, no report for 2.0 s (it is stopped): "
            "killed by signal 9 (SIGKILL) by its supervisor",
        ),
        (
            Evidence(-9, kernel_oom_kills=1, rss_bytes=5 * 1024**3),
            "killed by signal 9 (SIGKILL), probably out of memory at 5120 MiB: "
            "the kernel killed for memory",
        ),
    ],
)
def test_the_cause_in_plain_words(evidence: Evidence, words: str) -> None:
    """Signal, exit code, last words and the guess at memory."""
    assert describe(evidence) == words


def test_long_last_words_are_cut() -> None:
    """A cause stands in a table cell."""
    assert len(describe(Evidence(1, "x" * 5000))) < 400
