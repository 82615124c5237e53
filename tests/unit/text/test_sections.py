"""Answers fall into reasoning, content and calls, however they are cut."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.text.sections import Marks, Section, SectionSplitter

MARKS = Marks("<think>", "</think>", "<call>", "</call>")
R, C, CALL = Section.REASONING, Section.CONTENT, Section.CALL


def split(
    text: str, size: int = 1, *, in_reasoning: bool = False, calls: bool = True
) -> list[tuple[Section, str]]:
    """All parts, neighbours of one kind joined (whole calls stay apart)."""
    splitter = SectionSplitter(MARKS, in_reasoning=in_reasoning, calls=calls)
    parts = [part for i in range(0, len(text), size) for part in splitter.feed(text[i : i + size])]
    parts += splitter.finish()
    joined: list[tuple[Section, str]] = []
    for section, group in groupby(parts, key=lambda part: part[0]):
        texts = [text for _, text in group]
        joined += [(CALL, t) for t in texts] if section is CALL else [(section, "".join(texts))]
    return joined


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Hello", [(C, "Hello")]),
        ("  Hello \n", [(C, "  Hello \n")]),
        (" \n", [(C, " \n")]),
        ("<think>\nhm\n</think>\n\nYes", [(R, "hm"), (C, "Yes")]),
        ("\n<think>hm", [(R, "hm")]),
        ("Hi <think>no</think>", [(C, "Hi <think>no</think>")]),
        ("<call>{}</call>", [(CALL, "{}")]),
        ("On it.\n<call>1</call>\n<call>2</call>\n", [(C, "On it."), (CALL, "1"), (CALL, "2")]),
        ("<think>hm</think>\n<call>1</call>", [(R, "hm"), (CALL, "1")]),
        ("<call>{unfinished", [(C, "<call>{unfinished")]),
        ("a <cal", [(C, "a <cal")]),
    ],
)
def test_parts(text: str, parts: list[tuple[Section, str]]) -> None:
    """White space beside a mark belongs to nobody; all other text is kept."""
    assert split(text) == parts
    assert split(text, len(text)) == parts


def test_a_prompt_that_opened_the_thinking() -> None:
    """Some templates end with the mark: the answer then begins inside."""
    assert split("hm</think>Yes", in_reasoning=True) == [(R, "hm"), (C, "Yes")]


def test_without_tools_a_call_is_text() -> None:
    """Nobody asked for calls, so nothing may vanish."""
    assert split("<call>1</call>", calls=False) == [(C, "<call>1</call>")]


def test_calls_that_have_no_end_mark_go_to_the_end() -> None:
    """As Mistral's."""
    splitter = SectionSplitter(Marks(call_start="[CALLS]"))
    assert splitter.feed("Hm. [CALLS][1]") == [(C, "Hm.")]
    assert splitter.finish() == [(CALL, "[1]")]


fragments = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<call>", "</call>", " ", "\n", "a", "<", "</", "think>"]
    ),
    max_size=12,
)


@given(fragments, st.integers(2, 9), st.booleans())
def test_the_cuts_do_not_matter(pieces: list[str], size: int, in_reasoning: bool) -> None:
    """What a client sees depends on the text alone, not on tokens."""
    text = "".join(pieces)
    by_character = split(text, in_reasoning=in_reasoning)
    assert split(text, size, in_reasoning=in_reasoning) == by_character


@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_call_made_by_a_grammar_may_quote_its_end_mark(size: int) -> None:
    """Its arguments are whole JSON; only then the mark is one."""
    call = '{"a": "</call> </call"}'
    splitter = SectionSplitter(MARKS, json_calls=True)
    text = f"x<call>{call}</call>\n<call>{{}}</call>"
    parts = [part for i in range(0, len(text), size) for part in splitter.feed(text[i : i + size])]
    assert parts + splitter.finish() == [(C, "x"), (CALL, call), (CALL, "{}")]


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("before", ["", "<think>why <call</think>\n\n"])
def test_text_made_by_a_grammar_may_quote_the_mark_of_a_call(size: int, before: str) -> None:
    """Where calls come instead of text, none begins within it; but several may follow."""
    for answer, expected in (
        ('{"a": "<call>"}', [(C, '{"a": "<call>"}')]),
        ("<call>{}</call>\n<call>[]</call>", [(CALL, "{}"), (CALL, "[]")]),
    ):
        splitter = SectionSplitter(MARKS, calls_instead=True, json_calls=True)
        text = before + answer
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        parts = [part for piece in pieces for part in splitter.feed(piece)] + splitter.finish()
        shown = [part for part in parts if part[0] is not R]
        joined = "".join(text for _, text in shown)
        assert joined == "".join(text for _, text in expected)
        assert {section for section, _ in shown} == {section for section, _ in expected}
