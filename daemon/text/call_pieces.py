"""A tool call given out while it is written: its name, then its arguments piece by piece.

Owns reading calls of the form `{"name": ..., "arguments": {...}}`; what begins otherwise is left to
the parser of whole calls. Pure; one reader per call.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"arguments"\s*:\s*(?=\{)')
_LONGEST_HEAD = 512
"""Characters; a call that has not come to its arguments by then is read as a whole."""


@dataclass(frozen=True, slots=True)
class CallPiece:
    """What came to a call."""

    call_id: str
    name: str
    arguments: str
    """The next part of the JSON text."""
    opens: bool = False
    closes: bool = False


class CallReader:
    """Follows the text of one call."""

    def __init__(self, names: Collection[str]) -> None:
        """``names``: functions that there are; a call of another is not given out in pieces."""
        self._names = names
        self._text = ""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._call_id = ""
        self._name = ""

    @property
    def opened(self) -> bool:
        """Whether a piece has been given out."""
        return bool(self._call_id)

    def feed(self, text: str) -> CallPiece | None:
        """The piece that ``text`` brings, if any."""
        if self.opened:
            arguments = self._inside(text)
            return CallPiece(self._call_id, self._name, arguments) if arguments else None
        if len(self._text) > _LONGEST_HEAD:
            return None
        self._text += text
        head = _HEAD.match(self._text)
        if head is None or head[1] not in self._names:
            return None
        self._call_id = f"call_{secrets.token_hex(12)}"
        self._name = head[1]
        arguments = self._inside(self._text[head.end() :])
        return CallPiece(self._call_id, self._name, arguments, opens=True)

    def close(self) -> CallPiece:
        """The end of a call that was `opened`."""
        return CallPiece(self._call_id, self._name, "", closes=True)

    def _inside(self, text: str) -> str:
        """The part of ``text`` that belongs to the object of arguments."""
        if self._depth < 0:
            return ""
        for place, character in enumerate(text):
            if self._in_string:
                ends = character == '"' and not self._escaped
                self._escaped = character == "\\" and not self._escaped
                self._in_string = not ends
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    self._depth = -1  # nothing more belongs to it
                    return text[: place + 1]
        return text
