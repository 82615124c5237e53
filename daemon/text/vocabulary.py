"""Token ids as the bytes they stand for, for streaming decoders and `logprobs`.

Owns the rules by which tokenizers spell bytes (byte-level BPE, SentencePiece with byte fallback).
Knows no tokenizer library; filled lazily, used from the event loop only.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SPACE_MARK = "\u2581"


class Spelling(Enum):
    """How a tokenizer writes bytes in its tokens."""

    BYTE_LEVEL = "byte-level"
    SPACE_MARK = "space mark"
    """SentencePiece: U+2581 is a space, `<0x0A>` a byte."""
    SPACE_MARK_STRIPPED = "space mark, first space dropped"
    OTHER = "other"
    """Only the tokenizer itself can tell what a token says."""


def spelling_of(tokenizer_file: Path) -> Spelling:
    """Read the spelling off the decoder that a `tokenizer.json` names."""
    if not tokenizer_file.exists():
        return Spelling.OTHER
    decoder = json.loads(tokenizer_file.read_text(encoding="utf-8")).get("decoder") or {}
    if decoder.get("type") == "ByteLevel":
        return Spelling.BYTE_LEVEL
    steps = decoder.get("decoders") or []
    kinds = [step.get("type") for step in steps]
    marks = bool(steps) and steps[0].get("pattern") == {"String": _SPACE_MARK}
    if marks and kinds == ["Replace", "ByteFallback", "Fuse"]:
        return Spelling.SPACE_MARK
    if marks and kinds == ["Replace", "ByteFallback", "Fuse", "Strip"]:
        return Spelling.SPACE_MARK_STRIPPED
    return Spelling.OTHER


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins: every byte as one character."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in printable)
    return alphabet | {chr(256 + i): byte for i, byte in enumerate(others)}


_ALPHABET = _byte_alphabet()


def _byte_level(token: str) -> bytes:
    try:
        return bytes([_ALPHABET[character] for character in token])
    except KeyError:  # an added token is spelt in plain text
        return token.encode()


def _space_mark(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace(_SPACE_MARK, " ").encode()


def is_mark(content: str, *, special: bool) -> bool:
    """Whether an added token stands for itself only: grammars never take it for ordinary text."""
    return special or content[:1] + content[-1:] in ("<>", "[]")


class Vocabulary:
    """The bytes of every token."""

    def __init__(
        self,
        spelling: Spelling,
        token_name: Callable[[int], str | None],
        decode: Callable[[list[int]], str],
        special_ids: frozenset[int],
    ) -> None:
        self.spelling = spelling
        self.special_ids = special_ids
        self.decode = decode
        self._token_name = token_name
        self._cache: dict[int, bytes] = {}

    def bytes_of(self, token: int) -> bytes:
        """Bytes of one token; none for an id that the tokenizer does not know."""
        known = self._cache.get(token)
        if known is None:
            known = self._cache[token] = self._spell(token)
        return known

    def _spell(self, token: int) -> bytes:
        name = self._token_name(token)
        if name is None:
            return b""
        if self.spelling is Spelling.BYTE_LEVEL:
            return _byte_level(name)
        if self.spelling is Spelling.OTHER:
            return self.decode([token]).encode()
        return _space_mark(name)
