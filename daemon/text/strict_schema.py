"""What a JSON schema must look like to be `strict`, by OpenAI's published rules.

Owns the rules and the words of a refusal. Pure; knows no grammar and no HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.text.grammar import GrammarRefusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORBIDDEN = (
    "allOf",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "not",
    "oneOf",
    "patternProperties",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
)
MAX_DEPTH = 10
MAX_PROPERTIES = 5_000
_NAMED = ("properties", "$defs", "definitions")
"""Keywords whose value names schemas."""
_LISTED = ("anyOf", "prefixItems")


def check_strict(schema: Mapping[str, Any]) -> None:
    """Check the schema of a whole answer, or of a function's arguments.

    Raises:
        GrammarRefusal: naming the keyword, and the place.
    """
    if schema.get("type") != "object":
        kind = repr(schema["type"]) if "type" in schema else "no 'type'"
        raise GrammarRefusal(f"the keyword 'type': strict needs 'object' at the root, got {kind}")
    count = 0
    for place, part, depth in _parts(schema, (), 0):
        if depth > MAX_DEPTH:
            raise GrammarRefusal(
                f"In context={place}: nested over {MAX_DEPTH} levels, the most that strict takes"
            )
        _check_keywords(place, part)
        if _is_object(part):
            count += len(part.get("properties") or ())
            _check_object(place, part)
    if count > MAX_PROPERTIES:
        raise GrammarRefusal(
            f"the keyword 'properties': {count} of them, strict takes {MAX_PROPERTIES}"
        )


def _check_keywords(place: tuple[str, ...], part: Mapping[str, Any]) -> None:
    keyword = next((keyword for keyword in FORBIDDEN if keyword in part), None)
    if keyword is not None:
        raise GrammarRefusal(f"In context={place}, '{keyword}' is not permitted with strict")


def _check_object(place: tuple[str, ...], part: Mapping[str, Any]) -> None:
    if part.get("additionalProperties") is not False:
        raise GrammarRefusal(
            f"In context={place}, 'additionalProperties' is required to be supplied and to be false"
        )
    required = part.get("required")
    named = set[Any](required) if isinstance(required, list) else set[Any]()
    missing = next((name for name in part.get("properties") or () if name not in named), None)
    if missing is not None:
        raise GrammarRefusal(
            f"In context={place}, 'required' is required to be supplied and to be an array "
            f"including every key in properties. Missing '{missing}'"
        )


def _is_object(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    return kind == "object" or "properties" in part or (isinstance(kind, list) and "object" in kind)


def _parts(
    schema: Any, place: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any], int]]:
    """The schema and all in it, with the way there and how many objects or arrays are around."""
    if not isinstance(schema, dict):
        return
    yield place, schema, depth
    if depth > MAX_DEPTH:
        return
    for keyword in _NAMED:
        named = schema.get(keyword)
        inside = depth + 1 if keyword == "properties" else 0
        if isinstance(named, dict):
            for name, part in named.items():
                yield from _parts(part, (*place, keyword, str(name)), inside)
    for keyword in _LISTED:
        listed = schema.get(keyword)
        for number, part in enumerate(listed if isinstance(listed, list) else ()):
            yield from _parts(part, (*place, keyword, str(number)), depth)
    yield from _parts(schema.get("items"), (*place, "items"), depth + 1)
