"""Writes the grammar of an answer: reasoning, then text of a form, or tool calls, or either.

Owns how the forms are put together, and the words of a refusal. Knows no HTTP and no sampling; the
last rank runs what is written here (`daemon.execution.grammar`). May be called in any thread.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.text.sections import Marks

MAX_CALLS = 16
_SPACES = {"whitespace_flexible": True, "whitespace_pattern": "[ ]{0,1}"}
"""At most one space between tokens of JSON: an answer can't drown in white space."""
_KEYWORDS = (
    (r'Unimplemented keys: \["([^"]+)"', r"the keyword '\1' is not supported"),
    (r"oneOf constraints are not supported.*", "the keyword 'oneOf' with overlapping branches"),
    (r"regex parse error.*error: (.*)", r"the keyword 'pattern': \1"),
    (r"(Pointer|Resource) ('[^']*').*", r"the keyword '$ref': \2 is not in the schema"),
    (r"Unknown format: (.*)", r"the keyword 'format': '\1' is not supported"),
    (r"Invalid type: (.*)", r"the keyword 'type': '\1' is no type"),
)


class GrammarRefusal(ValueError):
    """The form asked for can't be kept to; the text names the keyword or the place."""


class Thinking(Enum):
    """Whether the prompt leaves the model thinking."""

    OVER = "over"
    MAY_BEGIN = "may begin"
    BEGUN = "begun"


@dataclass(frozen=True, slots=True)
class CallableFunction:
    """A function that a call may name."""

    name: str
    parameters: Mapping[str, Any]
    """JSON Schema of an object."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Which tool calls there may be, in the format of mlx-lm's parser called ``style``."""

    style: str
    functions: Sequence[CallableFunction]
    required: bool
    """Else text may stand before them, or instead of them."""
    one: bool


@dataclass(slots=True)
class _Lark:
    """Rules of a grammar in the making."""

    marks: Marks
    token_ids: Mapping[str, int]
    """Marks that are single tokens and nothing else."""
    rules: list[str] = field(default_factory=list[str])
    others: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """Grammars that the rules refer to by `@name`."""

    def mark(self, mark: str) -> str:
        token = self.token_ids.get(mark)
        return json.dumps(mark) if token is None else f"<[{token}]>"

    def any_but(self, *marks: str) -> str:
        """Any text in which none of ``marks`` is spelt out."""
        without = [f" & ~/(?s:.*){_escaped(mark)}(?s:.*)/" for mark in marks if mark]
        return "/(?s:.*)/" + "".join(without)


@dataclass(frozen=True, slots=True)
class Form:
    """What the visible text must be; made by `json_form`, `regex_form` or `lark_form`."""

    rule: str
    lark: str = ""
    """A grammar of its own, which ``rule`` refers to."""


def json_form(schema: Mapping[str, Any]) -> Form:
    """JSON that validates, its keys in the order of the schema; raises `GrammarRefusal`."""
    _check_schema(schema)
    return Form(_json(schema))


def regex_form(pattern: str) -> Form:
    """Text that matches as a whole; raises `GrammarRefusal`."""
    from llguidance import LLMatcher  # noqa: PLC0415 - only who asks for a grammar pays for it

    grammar = json.loads(LLMatcher.grammar_from_regex(pattern))
    return lark_form(grammar["grammars"][0]["lark_grammar"])


def lark_form(grammar: str) -> Form:
    """Text of a grammar in llguidance's dialect of Lark; raises `GrammarRefusal`."""
    from llguidance import LLMatcher  # noqa: PLC0415 - see above

    _check(LLMatcher.grammar_from_lark(grammar))
    return Form("@form", grammar)


def write_grammar(
    marks: Marks,
    token_ids: Mapping[str, int],
    thinking: Thinking,
    form: Form | None,
    calls: Calls | None,
) -> str:
    """The grammar of a whole answer, for `SamplingParams.grammar`.

    Args:
        marks: of the model.
        token_ids: those marks that are tokens of their own.
        thinking: which reasoning stands before the answer; it may be any text.
        form: of the visible text; None: any text.
        calls: None: no tool calls.

    Raises:
        GrammarRefusal: the model's format of calls can't be kept to.
    """
    lark = _Lark(marks, token_ids)
    before = _reasoning(lark, thinking, with_calls=calls is not None)
    answers: list[str] = []
    if form is not None:
        lark.rules.append(f"form: {form.rule}")
        if form.lark:
            lark.others.append({"name": "form", "lark_grammar": form.lark})
        answers.append("form")
    if calls is not None:
        _write_calls(lark, calls)
        answers.append("calls" if calls.required or form else _free_text(lark))
    start = f"start: {before}({' | '.join(answers)})"
    whole = "\n".join(["%llguidance {}", start, *lark.rules, ""])
    grammars = [{"name": "answer", "lark_grammar": whole}, *lark.others]
    grammar = json.dumps({"grammars": grammars})
    _check(grammar)
    return grammar


def _reasoning(lark: _Lark, thinking: Thinking, *, with_calls: bool) -> str:
    """Writes the rules of the reasoning, if there may be one; how the start refers to it."""
    marks = lark.marks
    if thinking is Thinking.OVER or not marks.think_end:
        return ""
    if marks.think_end in lark.token_ids:
        text = lark.any_but(marks.think_end, marks.call_start if with_calls else "")
        lark.rules += [f"THOUGHT: {text}", f"thought: THOUGHT? {lark.mark(marks.think_end)} GAP?"]
    else:
        lark.rules.append(f"thought_end[lazy]: /(?s:.*){_escaped(marks.think_end)}/")
        lark.rules.append("thought: thought_end GAP?")
    lark.rules.append(r"GAP: /\n{1,2}/")
    if thinking is Thinking.BEGUN:
        return "thought "
    return f"({lark.mark(marks.think_start)} thought)? "


def _write_calls(lark: _Lark, calls: Calls) -> None:
    start, end = lark.mark(lark.marks.call_start), lark.mark(lark.marks.call_end)
    bodies: list[str] = []
    for number, function in enumerate(calls.functions):
        name = f"function_{number}"
        bodies.append(name)
        lark.rules.append(f"{name}: {_call_body(calls.style, function, lark)}")
    call = f"({' | '.join(bodies)})"
    if calls.style == "json_tools":
        lark.rules.append(rf'call: {start} "\n" {call} "\n" {end}')
        more = r'("\n" call)'
    else:
        lark.rules.append(f"call: {start} {call}")
        more = "call"
    lark.rules.append(f"calls: call{'' if calls.one else f' {more}{{0,{MAX_CALLS - 1}}}'}")


def _call_body(style: str, function: CallableFunction, lark: _Lark) -> str:
    arguments = _json(function.parameters)
    if style == "json_tools":
        head = f'{{"name": {json.dumps(function.name)}, "arguments": '
        return f'{json.dumps(head)} {arguments} "}}"'
    if style == "mistral" and "[ARGS]" in lark.token_ids:
        return f"{json.dumps(function.name)} {lark.mark('[ARGS]')} {arguments}"
    raise GrammarRefusal("this model's format of tool calls can't be constrained yet")


def _free_text(lark: _Lark) -> str:
    """Any text, and calls after it or not; one that begins is held to the rules."""
    if lark.marks.call_start not in lark.token_ids:
        raise GrammarRefusal(
            "this model's tool calls begin with ordinary text, which can't be constrained unless "
            "a call is required"
        )
    text = lark.any_but(lark.marks.call_start, lark.marks.think_start)
    lark.rules.append(f"TEXT: {text}")
    return "TEXT? calls?"


def _json(schema: Mapping[str, Any]) -> str:
    return f"%json {json.dumps({**schema, 'x-guidance': _SPACES})}"


def _escaped(mark: str) -> str:
    return re.escape(mark).replace("/", r"\/")


def check_parameters(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function's parameters as the schema of an object; raises `GrammarRefusal`."""
    if parameters.get("type", "object") != "object":
        raise GrammarRefusal("the keyword 'type': parameters must be of type 'object'")
    schema = {"type": "object", **parameters}
    _check_schema(schema)
    return schema


def _check_schema(schema: Mapping[str, Any]) -> None:
    from llguidance import LLMatcher  # noqa: PLC0415 - see above

    _check(LLMatcher.grammar_from_json_schema(json.dumps(schema)), _KEYWORDS)


def _check(grammar: str, keywords: Sequence[tuple[str, str]] = ()) -> None:
    from llguidance import LLMatcher  # noqa: PLC0415 - see above

    problem = LLMatcher.validate_grammar(grammar)
    if not problem:
        return
    for pattern, words in keywords:
        found = re.search(pattern, problem, re.DOTALL)
        if found:
            problem = found.expand(words)
            break
    raise GrammarRefusal(problem.strip().partition("\n")[0])
