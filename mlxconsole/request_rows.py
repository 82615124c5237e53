"""The table of live requests: what each column shows, in which order, and which are wanted.

Pure text from rank 0's table; the widget paints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlxconsole.units import UNKNOWN, duration, size

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable

    from protos.control_pb2 import RequestStatus


@dataclass(frozen=True)
class RequestColumn:
    """One column; the lower its ``need``, the narrower the screen that still shows it."""

    title: str
    width: int
    need: int
    text: Callable[[RequestStatus], str]
    key: Callable[[RequestStatus], float | str]
    left: bool = False


def milliseconds(seconds: float) -> str:
    """A duration in at most 6 characters; unknown if it is 0."""
    if seconds <= 0:
        return UNKNOWN
    return f"{seconds:.1f}s" if seconds >= 1 else f"{1000 * seconds:.{seconds < 0.01:d}f}ms"


def cached(row: RequestStatus) -> str:
    """Share of the prompt that was found in the prefix cache."""
    return f"{100 * row.cached_tokens / row.prompt_tokens:.0f}%" if row.prompt_tokens else UNKNOWN


COLUMNS = (
    RequestColumn("ID", 14, 0, lambda r: short_id(r.id), lambda r: r.id, left=True),
    RequestColumn("STATE", 7, 1, lambda r: r.state, lambda r: r.state, left=True),
    RequestColumn("AGE", 4, 2, lambda r: duration(r.age_s), lambda r: r.age_s),
    RequestColumn("PROMPT", 7, 4, lambda r: str(r.prompt_tokens), lambda r: r.prompt_tokens),
    RequestColumn(
        "OUT/MAX",
        11,
        3,
        lambda r: f"{r.generated_tokens}/{r.max_tokens}",
        lambda r: r.generated_tokens,
    ),
    RequestColumn("TTFT", 6, 5, lambda r: milliseconds(r.first_token_s), lambda r: r.first_token_s),
    RequestColumn("TPOT", 6, 6, lambda r: milliseconds(r.token_s), lambda r: r.token_s),
    RequestColumn("KV", 5, 7, lambda r: size(r.kv_bytes), lambda r: r.kv_bytes),
    RequestColumn("CACHED", 7, 8, cached, lambda r: r.cached_tokens / max(r.prompt_tokens, 1)),
    RequestColumn("CLIENT", 24, 9, lambda r: r.client or UNKNOWN, lambda r: r.client, left=True),
)


def short_id(request_id: str) -> str:
    """Its end says as much as all of it: the beginning is the same for all."""
    return request_id if len(request_id) <= 14 else f"..{request_id[-12:]}"


def fit(width: int) -> tuple[RequestColumn, ...]:
    """The most needed columns that ``width`` has room for, in reading order; always the first."""
    room, chosen = width - 1, {COLUMNS[0].title}
    for column in sorted(COLUMNS, key=lambda c: c.need):
        room -= column.width + 1
        if room < 0:
            break
        chosen.add(column.title)
    return tuple(column for column in COLUMNS if column.title in chosen)


def wanted(
    rows: Iterable[RequestStatus], pattern: re.Pattern[str] | None, sort: str, *, down: bool
) -> list[RequestStatus]:
    """The rows that the pattern is in, sorted by a column; by none as rank 0 sent them."""
    found = [r for r in rows if pattern is None or pattern.search(f"{r.id} {r.state} {r.client}")]
    column = next((c for c in COLUMNS if c.title == sort), None)
    return sorted(found, key=column.key, reverse=down) if column else found


def cells(columns: Iterable[RequestColumn], row: RequestStatus) -> str:
    """One line."""
    return " ".join(_align(c, c.text(row)) for c in columns)


def titles(columns: Iterable[RequestColumn], sort: str, *, down: bool) -> str:
    """The line above; the sorted column carries an arrow."""
    mark = "v" if down else "^"
    return " ".join(_align(c, c.title + mark if c.title == sort else c.title) for c in columns)


def _align(column: RequestColumn, text: str) -> str:
    text = text if len(text) <= column.width else text[: column.width - 1] + "+"
    return text.ljust(column.width) if column.left else text.rjust(column.width)
