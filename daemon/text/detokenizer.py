"""Tokens to text as they come: never half a character, in the end equal to decoding at once.

Owns the state between two tokens of one sequence. Knows no markers and no stop strings.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Protocol

from daemon.text.vocabulary import Spelling

if TYPE_CHECKING:
    from daemon.text.vocabulary import Vocabulary

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")
_LINE_TOKENS = 64


class Detokenizer(Protocol):
    """One sequence's way from tokens to text."""

    keep_special: bool
    """Whether special tokens are written out (inside a tool call they can be syntax)."""

    def add(self, token: int) -> str:
        """Text that is certain after this token; may be empty."""
        ...

    def finish(self) -> str:
        """What is left; an incomplete character becomes U+FFFD."""
        ...


class ByteDetokenizer:
    """For vocabularies whose tokens are bytes: a table and a UTF-8 decoder."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.keep_special = False
        self._special_ids = vocabulary.special_ids
        self._bytes_of = vocabulary.bytes_of
        self._decode = _Utf8Decoder("replace").decode
        self._drop_space = vocabulary.spelling is Spelling.SPACE_MARK_STRIPPED

    def add(self, token: int) -> str:
        """See `Detokenizer`."""
        if token in self._special_ids and not self.keep_special:
            return ""
        text = self._decode(self._bytes_of(token))
        if self._drop_space and text:
            self._drop_space = False
            return text.removeprefix(" ")
        return text

    def finish(self) -> str:
        """See `Detokenizer`."""
        return self._decode(b"", final=True)


class DecodingDetokenizer:
    """For all others: decode a window of recent tokens and give out what is new."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.keep_special = False
        self._special_ids = vocabulary.special_ids
        self._decode = vocabulary.decode
        self._window: list[int] = []
        self._context = 0
        """Tokens at the window's start that are context: their text has been given out."""

    def add(self, token: int) -> str:
        """See `Detokenizer`."""
        if token in self._special_ids and not self.keep_special:
            return ""
        self._window.append(token)
        text = self._new_text()
        if text.endswith("\ufffd") and len(self._window) < _LINE_TOKENS:
            return ""
        self._move_on()
        return text

    def finish(self) -> str:
        """See `Detokenizer`."""
        text = self._new_text()
        self._move_on()
        return text

    def _new_text(self) -> str:
        shown = self._decode(self._window[: self._context])
        return self._decode(self._window)[len(shown) :]

    def _move_on(self) -> None:
        self._window = self._window[self._context :]
        self._context = len(self._window)


def make_detokenizer(vocabulary: Vocabulary) -> Detokenizer:
    """A fresh detokenizer for one sequence."""
    if vocabulary.spelling is Spelling.OTHER:
        return DecodingDetokenizer(vocabulary)
    return ByteDetokenizer(vocabulary)
