"""Grammars of whole answers: reasoning, then text, calls, or either; and what is refused."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from daemon.execution import grammar as grammar_module
from daemon.execution.grammar import Grammars
from daemon.text.grammar import (
    CallableFunction,
    Calls,
    Form,
    GrammarRefusal,
    Thinking,
    check_parameters,
    json_form,
    lark_form,
    regex_form,
    write_grammar,
)
from daemon.text.loader import load_text_model
from daemon.text.sections import Marks
from tests.support.tiny_tokenizer import write_tiny_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.text.model import TextModel

FUNCTIONS = [CallableFunction(name, {"type": "object", "maxProperties": 0}) for name in ("f", "g")]
CALL_F = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
CALL_G = CALL_F.replace('"f"', '"g"')
DIGIT = Form("/[0-9]/")


def calls(*, required: bool = True, one: bool = False, style: str = "json_tools") -> Calls:
    """Calls of `f` and `g`, which take nothing."""
    return Calls(style, FUNCTIONS, required, one)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with marks."""
    return write_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def text(folder: Path) -> TextModel:
    """As the API process loads it."""
    return load_text_model(folder)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a grammar takes is the question here, not how soon it is made on a busy machine."""
    monkeypatch.setattr(grammar_module, "WAIT_S", 60.0)


class Answers:
    """Which answers a grammar takes."""

    def __init__(self, folder: Path, text: TextModel) -> None:
        self._grammars = Grammars(folder / "tokenizer.json")
        self._text = text

    def takes(self, grammar: str, answer: str) -> bool:
        """Whether it may be written token by token, and end there."""
        end = self._text.stop_ids[0]
        constraint = self._grammars.open(grammar, self._text.stop_ids)
        ids = [*self._text.encode(answer, special=False), end]
        return all(constraint.allowed(ids[:i], 512)[token] for i, token in enumerate(ids))

    def spelt_out(self, grammar: str, start: str, rest: str) -> bool:
        """Whether ``rest`` may follow, one byte per token, marks too."""
        constraint = self._grammars.open(grammar, self._text.stop_ids)
        ids = list(self._text.encode(start, special=False))
        for letter in rest:
            [token] = self._text.encode(letter, special=False)
            if not constraint.allowed(ids, 512)[token]:
                return False
            ids.append(token)
        return True


@pytest.fixture(scope="module")
def answers(folder: Path, text: TextModel) -> Answers:
    """On the tiny tokenizer."""
    return Answers(folder, text)


@pytest.mark.parametrize(
    ("thinking", "taken", "refused"),
    [
        (Thinking.OVER, ["7"], ["<think>a</think>7", "a</think>7", "\n7", "77", "7 "]),
        (Thinking.MAY_BEGIN, ["7", "<think>\na < b\n</think>\n\n7", "<think></think>7"], ["a"]),
        (Thinking.BEGUN, ["a</think>7", "</think>\n7"], ["7", "a</think>", "a</think>\n\n\n7"]),
    ],
)
def test_reasoning_stands_before_the_form(
    thinking: Thinking, taken: list[str], refused: list[str], text: TextModel, answers: Answers
) -> None:
    """The form binds the answer, not the thoughts."""
    grammar = write_grammar(text.marks, text.mark_ids, thinking, DIGIT, None)
    assert [answers.takes(grammar, answer) for answer in taken] == [True] * len(taken)
    assert [answers.takes(grammar, answer) for answer in refused] == [False] * len(refused)


def test_reasoning_can_end_with_ordinary_text(text: TextModel, answers: Answers) -> None:
    """Not every model has a token for its mark."""
    marks = Marks("[[", "]]")
    grammar = write_grammar(marks, {}, Thinking.MAY_BEGIN, DIGIT, None)
    assert answers.takes(grammar, "[[ a ] b ]]7")
    assert not answers.takes(grammar, "[[ a ] b ]]x")


@pytest.mark.parametrize(
    ("rules", "form", "taken", "refused"),
    [
        (calls(), None, [CALL_F, f"{CALL_F}\n{CALL_G}"], ["", "a", f"a{CALL_F}", f"{CALL_F}a"]),
        (calls(one=True), None, [CALL_F, CALL_G], ["", f"{CALL_F}\n{CALL_G}"]),
        (calls(), DIGIT, [CALL_F, "7"], ["", f"7{CALL_F}"]),
        (
            calls(required=False),
            None,
            ["", "a <b>", CALL_F, f"Well:\n{CALL_F}\n{CALL_G}"],
            ["<tool_call>", CALL_F.replace("{}", "{1}"), f"{CALL_F} a"],
        ),
    ],
    ids=["required", "one", "or a form", "or text"],
)
def test_calls(
    rules: Calls,
    form: Form | None,
    taken: list[str],
    refused: list[str],
    text: TextModel,
    answers: Answers,
) -> None:
    """Whatever is called, its arguments parse and validate."""
    grammar = write_grammar(text.marks, text.mark_ids, Thinking.OVER, form, rules)
    assert [answers.takes(grammar, answer) for answer in taken] == [True] * len(taken)
    assert [answers.takes(grammar, answer) for answer in refused] == [False] * len(refused)


def test_marks_that_are_spelt_out_are_no_way_around(text: TextModel, answers: Answers) -> None:
    """The reader looks at text: `<tool_call>` in single letters would begin a call."""
    grammar = write_grammar(text.marks, text.mark_ids, Thinking.BEGUN, None, calls(required=False))
    assert answers.spelt_out(grammar, "", "<thin")
    assert not answers.spelt_out(grammar, "", "</think>")
    assert answers.spelt_out(grammar, "a</think>", "<tool_call")
    assert not answers.spelt_out(grammar, "a</think>", "<tool_call>")


def test_mistrals_calls() -> None:
    """Their mark, the name, a mark, the arguments; the text of the grammar must be valid."""
    marks, ids = Marks("", "", "[TOOL_CALLS]", ""), {"[TOOL_CALLS]": 5, "[ARGS]": 6}
    grammar = write_grammar(marks, ids, Thinking.OVER, None, calls(style="mistral"))
    rules = json.loads(grammar)["grammars"][0]["lark_grammar"]
    assert 'function_1: "g" <[6]> %json' in rules
    assert "call: <[5]> (function_0 | function_1)" in rules


@pytest.mark.parametrize(
    ("rules", "marks", "why"),
    [
        (calls(style="qwen3_coder"), Marks("", "", "<a>", "</a>"), "format of tool calls"),
        (calls(required=False), Marks("", "", "call:", ""), "ordinary text"),
    ],
)
def test_formats_that_cannot_be_kept_to(rules: Calls, marks: Marks, why: str) -> None:
    """An honest refusal instead of arguments that may not parse."""
    with pytest.raises(GrammarRefusal, match=why):
        write_grammar(marks, {}, Thinking.OVER, None, rules)


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"not": {}}, "'not'"),
        ({"properties": {"a": {"items": {"contains": {}}}}}, "'contains'"),
        ({"type": "array", "uniqueItems": True}, "'uniqueItems'"),
        ({"type": "string", "pattern": "(?=a)"}, "'pattern': look-around"),
        ({"type": "string", "format": "zip"}, "'format': 'zip'"),
        ({"type": "text"}, "'type': 'text'"),
        ({"$ref": "#/nowhere"}, r"'\$ref': '/nowhere'"),
        ({"oneOf": [{"pattern": "a"}, {"pattern": "b"}]}, "'oneOf'"),
        ({"type": "array", "minItems": 3, "maxItems": 1}, "minItems"),
    ],
)
def test_what_a_schema_may_not_have_is_named(schema: dict[str, object], word: str) -> None:
    """The client has to know what to change."""
    with pytest.raises(GrammarRefusal, match=word):
        json_form(schema)
    with pytest.raises(GrammarRefusal):
        check_parameters({"type": "object", "properties": {"a": schema}} | schema)


def test_other_forms_are_checked_too() -> None:
    """Before anything reaches a rank."""
    with pytest.raises(GrammarRefusal, match="invalid regex"):
        regex_form("[a")
    with pytest.raises(GrammarRefusal, match="unknown name"):
        lark_form("start: nothing")
    with pytest.raises(GrammarRefusal, match="'type': parameters"):
        check_parameters({"type": "array"})


def test_white_space_is_bounded_and_keys_keep_their_order(folder: Path, text: TextModel) -> None:
    """Whoever chooses the tokens: here, chance."""
    schema = {"type": "object", "additionalProperties": False}
    schema |= {"properties": {key: {"type": "null"} for key in "zax"}, "required": list("zax")}
    grammar = write_grammar(text.marks, text.mark_ids, Thinking.OVER, json_form(schema), None)
    for seed in range(5):
        chance, ids = random.Random(seed), list[int]()
        constraint = Grammars(folder / "tokenizer.json").open(grammar, text.stop_ids)
        while True:
            token = chance.choice(np.flatnonzero(constraint.allowed(ids, 512)).tolist())
            if token in text.stop_ids:
                break
            ids.append(token)
        answer = text.decode(ids)
        assert list(json.loads(answer)) == ["z", "a", "x"]
        assert len(answer) < 60
