"""Calls in pieces are the calls as a whole, however the text is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.text.call_pieces import CallPiece, CallReader

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from('{}[]"\\'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def read(text: str, sizes: list[int]) -> list[CallPiece]:
    """All pieces of a call whose text comes in parts of these sizes, over and over."""
    reader, pieces, at, turn = CallReader({"f"}), list[CallPiece | None](), 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces.append(reader.feed(text[at : at + size]))
        at, turn = at + size, turn + 1
    return [piece for piece in pieces if piece is not None]


@given(
    arguments=st.dictionaries(st.text(max_size=4), values, max_size=4),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    indent=st.sampled_from([None, 1]),
    plain=st.booleans(),
)
def test_pieces_are_the_whole(
    arguments: dict[str, Any], sizes: list[int], indent: int | None, plain: bool
) -> None:
    """Braces and quotes in strings are text; what follows the arguments is not theirs."""
    written = json.dumps(arguments, indent=indent, ensure_ascii=not plain)
    text = f'\n{{"name": "f", "arguments": {written}}}\n'
    first, *rest = read(text, sizes)
    assert (first.name, first.opens) == ("f", True)
    assert "".join(piece.arguments for piece in [first, *rest]) == written
    assert {piece.call_id for piece in rest} <= {first.call_id}
    assert not any(piece.opens for piece in rest)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "unknown", "arguments": {"a": 1}}',
        '{"arguments": {"a": 1}, "name": "f"}',
        '{"name": "f", "arguments": "{}"}',
        '{"name": "f"}',
        "f[ARGS]{}",
        "{" + " " * 600 + '"name": "f", "arguments": {}}',
    ],
)
def test_what_begins_otherwise_is_left_alone(text: str) -> None:
    """The parser of the model's own format sees it as a whole."""
    assert read(text, [3]) == []
