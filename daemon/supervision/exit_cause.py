"""Says in plain words how a process ended. Pure; the supervisor brings the evidence."""

from __future__ import annotations

import signal
from dataclasses import dataclass

_MAX_TEXT = 300
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Evidence:
    """What is known about an ended process."""

    return_code: int
    """As `subprocess` has it: negative for a signal."""
    last_stderr_line: str = ""
    failure_reason: str = ""
    """What the process itself gave as the reason of its state FAILED."""
    killed_by_us: bool = False
    killed_at_once: bool = False
    """By us too, but because the operator gave it no time to leave."""
    stuck: str = ""
    """Why we killed it although nobody had asked it to leave."""
    kernel_oom_kills: int = 0
    """Processes that the kernel killed for memory while this one lived."""
    rss_bytes: int = 0
    """Last measured resident set; 0 if unknown."""


def describe(evidence: Evidence) -> str:
    """One line such as ``killed by signal 9 (SIGKILL)`` or ``exit code 1: ValueError: ...``."""
    if evidence.return_code < 0:
        return _signal_text(evidence)
    words = f"exit code {evidence.return_code}"
    why = evidence.failure_reason
    if evidence.return_code and not why:
        why = evidence.last_stderr_line
    if "MemoryError" in why or "[malloc]" in why or "Unable to allocate" in why:
        words += ", out of memory"
    return f"{words}: {why[:_MAX_TEXT]}" if why else words


def _signal_text(evidence: Evidence) -> str:
    number = -evidence.return_code
    words = f"killed by signal {number} ({_signal_name(number)})"
    if number == signal.SIGKILL and evidence.stuck:
        return f"stuck, {evidence.stuck}: {words} by its supervisor"
    if number == signal.SIGKILL and evidence.killed_at_once:
        return f"killed by the operator, with {words.removeprefix('killed by ')}"
    if number == signal.SIGKILL and evidence.killed_by_us:
        return f"{words} after its time to leave was over"
    if number == signal.SIGKILL and evidence.kernel_oom_kills:
        size = f" at {evidence.rss_bytes // _MIB} MiB" if evidence.rss_bytes else ""
        return f"{words}, probably out of memory{size}: the kernel killed for memory"
    if number in {signal.SIGABRT, signal.SIGTRAP} and evidence.last_stderr_line:
        return f"{words}: {evidence.last_stderr_line[:_MAX_TEXT]}"
    return words


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unnamed"
