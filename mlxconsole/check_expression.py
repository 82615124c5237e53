"""`mlxconsole check`: a small expression over a cluster's figures, evaluated safely.

Pure. Numbers, the names of `figures`, arithmetic, comparisons, `and`, `or`, `not`: nothing else.
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

from daemon.errors import SettingsError
from mlxconsole.snapshot import api_status, state_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlxconsole.cluster import Cluster
    from protos.control_pb2 import RankStatus

Number = float | bool

LONGEST = 500
BINARY: dict[type[ast.operator], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def figures(cluster: Cluster, statuses: Mapping[int, RankStatus]) -> dict[str, float]:
    """What an expression may name; a rank that does not answer is down."""
    states = [state_name(statuses.get(member.rank)) for member in cluster.members]
    memory = [s.memory for s in statuses.values() if s.memory.limit_bytes]
    return {
        "ranks": len(states),
        "reached": len(statuses),
        "ready": states.count("READY"),
        "down": states.count("DOWN") + states.count("FAILED"),
        "api_ready": state_name(api_status(statuses)) == "READY",
        "restarts": sum(s.restarts for s in statuses.values()),
        "queue": max((s.queue_depth for s in statuses.values()), default=0),
        "sequences": max((s.sequences for s in statuses.values()), default=0),
        "tokens_per_s": max((s.tokens_per_s for s in statuses.values()), default=0.0),
        "memory_percent": max(
            (100 * m.mlx_active_bytes / m.limit_bytes for m in memory), default=0.0
        ),
        "uptime_s": min((s.uptime_s for s in statuses.values()), default=0.0),
    }


def evaluate(text: str, names: Mapping[str, float]) -> bool:
    """Whether the expression holds.

    Raises:
        SettingsError: it is none, or names something unknown; says what is known.
    """
    if len(text) > LONGEST:
        raise SettingsError(f"check: an expression has at most {LONGEST} characters")
    try:
        return bool(_value(ast.parse(text.strip(), mode="eval").body, names))
    except (SyntaxError, RecursionError, MemoryError, ValueError):
        raise SettingsError(
            f"check {text!r}: no expression: write it as in 'ready==2 and restarts<3'"
        ) from None
    except (ZeroDivisionError, OverflowError) as error:
        raise SettingsError(f"check {text!r}: {error}") from error


def _value(node: ast.expr, names: Mapping[str, float]) -> Number:
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.Name(id=name):
            if name not in names:
                raise SettingsError(f"check: unknown name {name}: there are {', '.join(names)}")
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return BINARY[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case _:
            return _truth(node, names)


def _truth(node: ast.expr, names: Mapping[str, float]) -> bool:
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, names)
        case ast.BoolOp(op=op, values=values):
            combine = all if isinstance(op, ast.And) else any
            return combine(_value(value, names) for value in values)
        case ast.Compare(left=left, ops=ops, comparators=others) if {*map(type, ops)} <= {*COMPARE}:
            values = [_value(part, names) for part in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            return all(COMPARE[type(op)](a, b) for op, a, b in pairs)
        case _:
            raise SettingsError(
                f"check: {ast.unparse(node)!r} is not allowed: numbers, names, + - * /, "
                "comparisons, and, or, not"
            )
