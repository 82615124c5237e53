"""Marks are found wherever the text is cut, and nothing of them is given out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.text.scanner import MarkScanner

Alphabet = st.text("ab<", max_size=30)


def scan(pieces: list[str], marks: tuple[str, ...]) -> tuple[str, str | None]:
    """Everything up to the first mark."""
    scanner = MarkScanner(marks)
    given_out = ""
    for piece in pieces:
        certain, mark = scanner.feed(piece)
        given_out += certain
        if mark is not None:
            return given_out, mark
    return given_out + scanner.flush(), None


@given(Alphabet, st.lists(st.text("ab<", min_size=1, max_size=4), max_size=4), st.integers(1, 5))
def test_the_result_does_not_depend_on_the_cuts(text: str, marks: list[str], size: int) -> None:
    """Token borders are an accident: stop strings must not notice them."""
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    assert scan(pieces, tuple(marks)) == scan(list(text), tuple(marks))


@given(Alphabet, st.text("ab<", min_size=1, max_size=4))
def test_one_mark_cuts_where_find_says(text: str, mark: str) -> None:
    """For a single stop string the answer is the text before its first occurrence."""
    before, found, _ = text.partition(mark)
    assert scan(list(text), (mark,)) == (before, mark if found else None)


def test_only_a_possible_beginning_is_held_back() -> None:
    """Text that can't begin a mark streams at once."""
    scanner = MarkScanner(("END",))
    assert scanner.feed("abcE") == ("abc", None)
    assert scanner.feed("x") == ("Ex", None)
    assert scanner.feed("EN") == ("", None)
    assert scanner.flush() == "EN"


def test_what_follows_a_mark_stays_for_the_next_feed() -> None:
    """Sections go on after their marks."""
    scanner = MarkScanner(("|",))
    assert scanner.feed("a|b|c") == ("a", "|")
    assert scanner.feed("") == ("b", "|")
    scanner.watch(())
    assert scanner.feed("d") == ("cd", None)
