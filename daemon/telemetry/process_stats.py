"""What the supervisor can measure of a child from outside. Never imports mlx."""

from __future__ import annotations

from pathlib import Path

import psutil

_VMSTAT = Path("/proc/vmstat")


def rss_bytes(pid: int) -> int:
    """Resident set of a process; 0 if it is gone or not ours to look at."""
    try:
        return psutil.Process(pid).memory_info().rss
    except (psutil.Error, OSError):
        return 0


def run_state(pid: int) -> str:
    """What a process does, as psutil names it (sleeping, stopped, ...); empty if it is gone."""
    try:
        return psutil.Process(pid).status()
    except (psutil.Error, OSError):
        return ""


def kernel_oom_kills() -> int:
    """Processes that this machine's kernel has killed for memory; 0 where it does not say."""
    try:
        lines = _VMSTAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    counts = (line.split() for line in lines if line.startswith("oom_kill "))
    return next((int(words[1]) for words in counts), 0)
