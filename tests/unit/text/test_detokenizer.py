"""Streaming text is what decoding at once gives, and never holds half a character."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.text.detokenizer import make_detokenizer
from daemon.text.vocabulary import Spelling, Vocabulary, spelling_of

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.text.model import TextModel


def stream(vocabulary: Vocabulary, tokens: list[int]) -> list[str]:
    """The pieces of text, the last one what was left."""
    detokenizer = make_detokenizer(vocabulary)
    return [*(detokenizer.add(token) for token in tokens), detokenizer.finish()]


@given(tokens=st.lists(st.integers(0, 262), max_size=40))
def test_equal_to_decoding_at_once(text_model: TextModel, tokens: list[int]) -> None:
    """Invalid bytes included: each becomes U+FFFD, as in the tokenizer itself."""
    vocabulary = text_model.vocabulary
    shown = [token for token in tokens if token not in vocabulary.special_ids]
    assert "".join(stream(vocabulary, tokens)) == text_model.decode(shown)


@given(tokens=st.lists(st.integers(0, 262), max_size=20))
def test_the_generic_way_gives_the_same(text_model: TextModel, tokens: list[int]) -> None:
    """For tokenizers whose bytes we can't read."""
    known = text_model.vocabulary
    generic = Vocabulary(Spelling.OTHER, lambda _: "", known.decode, known.special_ids)
    shown = [token for token in tokens if token not in known.special_ids]
    assert "".join(stream(generic, tokens)) == text_model.decode(shown)


def test_a_character_of_four_bytes_comes_whole(text_model: TextModel) -> None:
    """Clients would show a replacement character that is never taken back."""
    tokens = list(text_model.encode("a🙂b", special=False))
    assert len(tokens) == 6
    assert stream(text_model.vocabulary, tokens) == ["a", "", "", "", "🙂", "b", ""]


def test_an_unfinished_character_is_replaced_at_the_end(text_model: TextModel) -> None:
    """The answer was cut in the middle of it."""
    tokens = list(text_model.encode("a🙂", special=False))[:-1]
    assert "".join(stream(text_model.vocabulary, tokens)) == "a\ufffd"


def test_special_tokens_are_not_text(text_model: TextModel) -> None:
    """But marks of sections are, since they are read as text."""
    tokens = list(text_model.encode("<|im_start|>x<think>", special=False))
    assert len(tokens) == 3
    assert "".join(stream(text_model.vocabulary, tokens)) == "x<think>"
    assert text_model.token_bytes(tokens[0]) is None
    assert text_model.token_bytes(tokens[1]) == [ord("x")]


def test_sentencepiece_spelling() -> None:
    """A bar below is a space, `<0x..>` a byte; the first space of all is dropped if asked."""
    names = dict(enumerate(["\u2581Hi", "<0xC3>", "<0xA7>", "\u2581you"]))
    for spelling, text in (
        (Spelling.SPACE_MARK, " Hiç you"),
        (Spelling.SPACE_MARK_STRIPPED, "Hiç you"),
    ):
        vocabulary = Vocabulary(spelling, names.get, lambda _: "", frozenset())
        assert "".join(stream(vocabulary, [0, 1, 2, 3])) == text


@pytest.mark.parametrize(
    ("decoder", "spelling"),
    [
        ('{"type": "ByteLevel"}', Spelling.BYTE_LEVEL),
        ("null", Spelling.OTHER),
        ('{"type": "WordPiece"}', Spelling.OTHER),
        (
            '{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"},'
            ' "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}',
            Spelling.SPACE_MARK,
        ),
        (
            '{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"},'
            ' "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip"}]}',
            Spelling.SPACE_MARK_STRIPPED,
        ),
    ],
)
def test_spelling_is_read_off_the_decoder(tmp_path: Path, decoder: str, spelling: Spelling) -> None:
    """A wrong guess would corrupt every answer."""
    path = tmp_path / "tokenizer.json"
    assert spelling_of(path) is Spelling.OTHER
    path.write_text(f'{{"decoder": {decoder}}}', encoding="utf-8")
    assert spelling_of(path) is spelling
