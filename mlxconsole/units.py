"""Numbers as an operator reads them: short, with a unit, `--` for what is not known.

Pure text.
"""

from __future__ import annotations

UNKNOWN = "--"


def size(count: float | None) -> str:
    """Bytes in at most 5 characters: `831M`, `1.2G`."""
    if count is None:
        return UNKNOWN
    for unit in ("B", "K", "M", "G", "T"):
        if count < 1000 or unit == "T":
            digits = 0 if count >= 9.95 or unit == "B" else 1
            return f"{count:.{digits}f}{unit}"
        count /= 1024
    raise AssertionError  # the loop returns at T


def rate(per_second: float | None) -> str:
    """A rate in at most 5 characters: `3.1`, `412`, `12.5k`."""
    if per_second is None:
        return UNKNOWN
    if per_second >= 999.5:
        return f"{per_second / 1000:.1f}k"
    return f"{per_second:.1f}" if per_second < 9.95 else f"{per_second:.0f}"


def duration(seconds: float | None) -> str:
    """A span in at most 4 characters: `9s`, `12m`, `17h`, `20d`."""
    if seconds is None:
        return UNKNOWN
    for length_s, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * length_s:
            return f"{int(seconds // length_s)}{unit}"
    return f"{int(max(seconds, 0))}s"
