"""The tables of a sample: histograms, links, requests. Pure; trusts no child, as `reports`."""

from __future__ import annotations

from typing import Any

from daemon.histogram import BUCKETS
from protos import control_pb2

MOST_ROWS = 256
MOST_LINKS = 1_024
_MAX_TEXT = 200
_HISTOGRAMS = {"stage_times", "step_times", "first_token_times"}
ROW_FIELDS = tuple(control_pb2.RequestStatus.DESCRIPTOR.fields_by_name)
"""A row of the requests' table is an array in the order of control.proto."""


def histograms(section: Any) -> dict[str, control_pb2.Histogram]:
    """Those that control.proto knows, by name. Raises ValueError."""
    if section is None:
        return {}
    return {name: _histogram(counts) for name, counts in section.items() if name in _HISTOGRAMS}


def links(section: Any) -> tuple[control_pb2.LinkStatus, ...] | None:
    """One entry per link; None if the sample has none. Raises ValueError."""
    if section is None:
        return None
    return tuple(_link(item) for item in _bounded(section, MOST_LINKS))


def requests(section: Any) -> control_pb2.RequestTable | None:
    """The table; None if the sample has none. Raises ValueError."""
    if section is None:
        return None
    rows = [_request(row) for row in _bounded(section["rows"], MOST_ROWS)]
    return control_pb2.RequestTable(rows=rows, total=section["total"])


def _link(item: Any) -> control_pb2.LinkStatus:
    names = control_pb2.LinkStatus.DESCRIPTOR.fields_by_name
    known = {name: value for name, value in item.items() if name in names}
    for name in ("state", "reason"):
        known[name] = _text(known[name])
    return control_pb2.LinkStatus(**known)


def _request(row: Any) -> control_pb2.RequestStatus:
    fields = dict(zip(ROW_FIELDS, _bounded(row, len(ROW_FIELDS)), strict=True))
    for name in ("id", "state", "client"):
        fields[name] = _text(fields[name])
    return control_pb2.RequestStatus(**fields)


def _histogram(counts: Any) -> control_pb2.Histogram:
    return control_pb2.Histogram(counts=_bounded(counts, BUCKETS))


def _text(value: Any) -> str:
    """Printable: a terminal must not obey what a client calls itself."""
    text = str(value)[:_MAX_TEXT].encode(errors="replace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)


def _bounded(value: Any, most: int) -> list[Any]:
    match value:
        case list() if len(value) <= most:
            return value
        case _:
            raise ValueError(f"expected at most {most} entries, not {str(value)[:40]}")
