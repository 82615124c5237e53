"""A small validator of JSON Schema, so that what llguidance lets through has a second opinion."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None) -> list[str]:
    """What ``schema`` does not allow in ``value``; empty if it validates."""
    root = root or schema
    if "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return faults(value, target, root)
    found = _plain_faults(value, schema)
    if "anyOf" in schema and all(faults(value, branch, root) for branch in schema["anyOf"]):
        found.append(f"no branch of anyOf takes {value!r}")
    if isinstance(value, dict):
        found += _object_faults(value, schema, root)
    if isinstance(value, list):
        for item in value:
            found += faults(item, schema.get("items", {}), root)
    return found


def _plain_faults(value: Any, schema: dict[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    checks = {
        "type": not kinds or any(_is(value, kind) for kind in kinds),
        "enum": value in schema.get("enum", [value]),
        "const": value == schema.get("const", value),
    }
    if isinstance(value, str):
        checks["minLength"] = len(value) >= schema.get("minLength", 0)
        checks["maxLength"] = len(value) <= schema.get("maxLength", len(value))
        checks["pattern"] = re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, list):
        checks["minItems"] = len(value) >= schema.get("minItems", 0)
        checks["maxItems"] = len(value) <= schema.get("maxItems", len(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        checks["minimum"] = value >= schema.get("minimum", value)
        checks["maximum"] = value <= schema.get("maximum", value)
    return [f"{keyword} does not take {value!r}" for keyword, good in checks.items() if not good]


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def _object_faults(value: dict[str, Any], schema: dict[str, Any], root: Any) -> list[str]:
    known = schema.get("properties", {})
    found = [f"{name!r} is missing" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        if name in known:
            found += faults(item, known[name], root)
        elif schema.get("additionalProperties") is False:
            found.append(f"{name!r} is not allowed")
    order = [name for name in known if name in value]
    if [name for name in value if name in known] != order:
        found.append(f"keys are not in the order {order}")
    return found
