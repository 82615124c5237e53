"""Reads the JSON lines of the report pipe into typed messages. Pure; trusts no child."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from daemon.supervision import report_tables
from protos import control_pb2

Numbers = dict[str, float]

_STATES = {"JOINING", "LOADING", "READY", "DRAINING", "FAILED"}
_MAX_BUILD = 500
_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
_GAUGES = {
    "epoch": 32,
    "queue_depth": 32,
    "sequences": 32,
    "batch": 32,
    "in_flight": 32,
    "drained": 1,
    "last_step": 64,
    "last_step_age_s": 64,
}
"""By name, their bits."""


@dataclass(frozen=True)
class SampleReport:
    """Measurements; a section that is absent has not changed."""

    memory: Numbers = field(default_factory=dict)
    counters: Numbers = field(default_factory=dict)
    progress: Numbers = field(default_factory=dict)
    layers: tuple[int, int] | None = None
    gauges: Numbers = field(default_factory=dict)
    histograms: dict[str, control_pb2.Histogram] = field(default_factory=dict)
    links: tuple[control_pb2.LinkStatus, ...] | None = None
    requests: control_pb2.RequestTable | None = None
    build: str = ""


@dataclass(frozen=True)
class StateReport:
    """Where the child is in its life, with what it measured on the way."""

    state: str
    reason: str
    sample: SampleReport


@dataclass(frozen=True)
class LogReport:
    """A structured log line."""

    level: str
    event: str
    fields: dict[str, Any]
    time_s: float | None


@dataclass(frozen=True)
class EventReport:
    """An entry for the rank's history."""

    kind: str
    text: str
    time_s: float | None


@dataclass(frozen=True)
class AnswerReport:
    """What a command of the supervisor was answered."""

    command: int
    rows: list[Any]


@dataclass(frozen=True)
class AliveReport:
    """The child had nothing else to say."""


Report = SampleReport | StateReport | LogReport | EventReport | AnswerReport | AliveReport


def parse(line: bytes) -> Report:
    """The message that one line holds.

    Raises:
        ValueError: it holds none of ours; says why.
    """
    try:
        plain = _object(json.loads(line), "a report")
    except RecursionError as error:
        raise ValueError("too many levels") from error
    match plain.get("kind"):
        case "state":
            state = str(plain.get("state"))
            if state not in _STATES:
                raise ValueError(f"unknown state '{state[:40]}'")
            return StateReport(state, str(plain.get("reason", "")), _sample(plain))
        case "sample":
            return _sample(plain)
        case "log":
            return _log(plain)
        case "event":
            kind, text = str(plain.get("event", "")), str(plain.get("text", ""))
            return EventReport(kind, text, _time_s(plain))
        case "answer":
            rows = plain.get("rows")
            return AnswerReport(
                int(_number(plain.get("command"), 32)), rows if isinstance(rows, list) else []
            )
        case "alive":
            return AliveReport()
        case other:
            raise ValueError(f"unknown kind '{str(other)[:40]}'")


def _sample(plain: dict[str, Any]) -> SampleReport:
    try:
        histograms = report_tables.histograms(plain.get("histograms"))
        links = report_tables.links(plain.get("links"))
        requests = report_tables.requests(plain.get("requests"))
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"a table is malformed: {error}") from error
    return SampleReport(
        memory=_numbers(plain.get("memory"), control_pb2.Memory),
        counters=_numbers(plain.get("counters"), control_pb2.Counters),
        progress=_numbers(plain.get("progress"), control_pb2.Progress),
        layers=_layers(plain.get("layers")),
        gauges={
            name: _number(plain[name], bits) for name, bits in _GAUGES.items() if name in plain
        },
        histograms=histograms,
        links=links,
        requests=requests,
        build=str(plain.get("build", ""))[:_MAX_BUILD],
    )


def _log(plain: dict[str, Any]) -> LogReport:
    level = str(plain.get("level", "INFO"))
    fields = plain.get("fields", {})
    return LogReport(
        level=level if level in _LEVELS else "INFO",
        event=str(plain.get("event", "")),
        fields=fields if isinstance(fields, dict) else {"fields": fields},
        time_s=_time_s(plain),
    )


def _numbers(section: Any, kind: type[Any]) -> Numbers:
    """The entries of ``section`` that ``kind`` (a message of control.proto) has a field for."""
    if section is None:
        return {}
    fields = kind.DESCRIPTOR.fields_by_name
    return {
        name: _number(value, 32 if fields[name].type == fields[name].TYPE_UINT32 else 64)
        for name, value in _object(section, kind.__name__.lower()).items()
        if name in fields
    }


def _number(value: Any, bits: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**bits:
        raise ValueError(f"{str(value)[:40]} is no count")
    return value


def _layers(value: Any) -> tuple[int, int] | None:
    match value:
        case None:
            return None
        case [low, high] if _number(low, 32) <= _number(high, 32):
            return int(low), int(high)
        case _:
            raise ValueError(f"layers must be [lo, hi], not {str(value)[:40]}")


def _time_s(plain: dict[str, Any]) -> float | None:
    value = plain.get("time")
    if isinstance(value, int | float) and 0 <= value < 2**33:
        return float(value)
    return None


def _object(value: Any, what: str) -> dict[str, Any]:
    match value:
        case dict():
            return value
        case _:
            raise ValueError(f"{what} must be an object, not {str(value)[:40]}")
