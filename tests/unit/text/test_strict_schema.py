"""Which schemas OpenAI takes as strict, and the words for those that it does not."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.text.grammar import GrammarRefusal
from daemon.text.strict_schema import FORBIDDEN, check_strict


def strict_object(**properties: Any) -> dict[str, Any]:
    """All required, nothing else allowed."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


LEAF = {"type": ["string", "null"], "pattern": "^a"}
TREE = {
    **strict_object(left={"$ref": "#/$defs/tree"}, leaf=LEAF),
    "$defs": {"tree": {"anyOf": [{"type": "null"}, strict_object(right={"$ref": "#"})]}},
}


@pytest.mark.parametrize(
    "schema",
    [
        strict_object(),
        strict_object(a=LEAF, b={"type": "array", "items": strict_object(c=LEAF), "maxItems": 3}),
        # A property may have the name of a keyword.
        strict_object(oneOf=LEAF, required=LEAF, items=strict_object()),
        TREE,
    ],
    ids=str,
)
def test_strict_schemas(schema: dict[str, Any]) -> None:
    """Nested, recursive, and with optional values."""
    check_strict(schema)


OPEN = {"type": "object", "properties": {"a": LEAF}, "required": ["a"]}
UNASKED = {**strict_object(a=LEAF, b=LEAF), "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "array", "items": LEAF}, "'type'.*'object' at the root, got 'array'"),
        ({"anyOf": [strict_object()]}, "'type'.*got no 'type'"),
        (OPEN, r"In context=\(\), 'additionalProperties' is required"),
        (UNASKED, r"In context=\(\), 'required'.*Missing 'b'"),
        ({**UNASKED, "required": None}, "Missing 'a'"),
        (strict_object(x=OPEN), r"In context=\('properties', 'x'\), 'additionalProperties'"),
        (
            strict_object(x={"type": "array", "items": UNASKED}),
            r"\('properties', 'x', 'items'\), 'required'",
        ),
        (strict_object(x={"anyOf": [LEAF, OPEN]}), r"'anyOf', '1'\), 'additionalProperties'"),
        ({**strict_object(), "$defs": {"d": OPEN}}, r"'\$defs', 'd'\), 'additionalProperties'"),
    ],
    ids=str,
)
def test_refusals(schema: dict[str, Any], words: str) -> None:
    """Each names the keyword and the place."""
    with pytest.raises(GrammarRefusal, match=words):
        check_strict(schema)


@pytest.mark.parametrize("keyword", FORBIDDEN)
def test_keywords_that_strict_does_not_know(keyword: str) -> None:
    """Wherever they are."""
    with pytest.raises(GrammarRefusal, match=f"'x'\\), '{keyword}' is not permitted"):
        check_strict(strict_object(x={"type": "string", keyword: {}}))


def test_bounds() -> None:
    """Ten levels, five thousand properties."""
    schema = strict_object()
    for _ in range(10):
        schema = strict_object(deeper=schema)
    check_strict(schema)
    with pytest.raises(GrammarRefusal, match="nested over 10 levels"):
        check_strict(strict_object(deeper=schema))
    with pytest.raises(GrammarRefusal, match="5001 of them"):
        check_strict(strict_object(**{f"p{i}": LEAF for i in range(5001)}))
