"""Schemas of every shape that answers are often held to; each has short values only."""

from __future__ import annotations

from typing import Any

FLAG: dict[str, Any] = {"type": "boolean"}
POINT: dict[str, Any] = {
    "type": "object",
    "properties": {"y": {"type": "integer", "minimum": -9, "maximum": 9}, "x": FLAG},
    "required": ["y", "x"],
    "additionalProperties": False,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "nested objects": {
        "type": "object",
        "properties": {"zeta": POINT, "alpha": {"type": "null"}},
        "required": ["zeta", "alpha"],
        "additionalProperties": False,
    },
    "array": {"type": "array", "items": POINT, "minItems": 1, "maxItems": 3},
    "enum": {"enum": ["red", "green", 3, None, "</tool_call>", "<think>"]},
    "const": {
        "type": "object",
        "properties": {"kind": {"const": 'a/b "c" \u00e9'}},
        "required": ["kind"],
        "additionalProperties": False,
    },
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    "lengths": {"type": "string", "minLength": 2, "maxLength": 5},
    "any of": {"anyOf": [POINT, {"type": "array", "items": FLAG, "maxItems": 2}, FLAG]},
    "references": {
        "type": "object",
        "properties": {"left": {"$ref": "#/$defs/leaf"}, "right": {"$ref": "#/$defs/leaf"}},
        "required": ["left"],
        "additionalProperties": False,
        "$defs": {"leaf": {"type": "array", "items": FLAG, "maxItems": 2}},
    },
    "optional": {
        "type": "object",
        "properties": {"b": FLAG, "a": {"type": ["boolean", "null"]}, "c": POINT},
        "required": ["a"],
        "additionalProperties": False,
    },
}
