"""Tool calls out of a model's text, by mlx-lm's parser for the model's own format.

Owns the check that what a parser returns is a call. The parser is passed in.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    ToolParser = Callable[[str, Any], Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model wants made."""

    call_id: str
    name: str
    arguments: str
    """JSON text of an object."""


def parse_calls(
    parser: ToolParser, text: str, tools: Sequence[dict[str, Any]]
) -> tuple[ToolCall, ...]:
    """The calls in ``text`` (without its marks); none if it is not what the format asks for."""
    try:
        parsed = parser(text, list(tools))
        items = parsed if isinstance(parsed, list) else [parsed]
        return tuple(_call(item) for item in items)
    except Exception as error:  # noqa: BLE001 - parsers raise anything on text made by a model
        log.info("tool_call_unparsed", extra={"fields": {"reason": repr(error)}})
        return ()


def _call(item: dict[str, Any]) -> ToolCall:
    name, arguments = item["name"], item.get("arguments", {})
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise TypeError(f"no call with a name and an object of arguments: {item!r}")
    return ToolCall(
        f"call_{secrets.token_hex(12)}", name, json.dumps(arguments, ensure_ascii=False)
    )
