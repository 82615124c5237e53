"""Tokens become an answer: visible text, reasoning, calls, and the right end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from daemon.text.answer import AnswerReader, Delta, ToolUse
from daemon.text.tool_calls import parse_calls

if TYPE_CHECKING:
    from daemon.text.model import TextModel

CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": {"name": "add"}}]


def read(reader: AnswerReader, tokens: tuple[int, ...]) -> Delta:
    """The whole answer."""
    whole = Delta()
    for token in tokens:
        add(whole, reader.feed(token))
        if reader.stopped:
            return whole
    add(whole, reader.finish())
    return whole


def add(whole: Delta, delta: Delta) -> None:
    """Sum up."""
    whole.content += delta.content
    whole.reasoning += delta.reasoning
    whole.calls += delta.calls


def chat_reader(
    model: TextModel, *stops: str, tools: bool = True, one_call: bool = False
) -> AnswerReader:
    """A reader as the chat endpoint makes it."""
    assert model.tool_parser is not None
    use = ToolUse(model.tool_parser, TOOLS, one_call=one_call) if tools else None
    return model.chat_reader(tuple(stops), in_reasoning=False, tool_use=use)


def test_reasoning_content_and_call(text_model: TextModel) -> None:
    """All three in one answer, each in its place."""
    reader = chat_reader(text_model)
    answer = f"<think>\nadd them\n</think>\n\nOn it.\n{CALL}"
    whole = read(reader, text_model.encode(answer, special=False))
    assert whole.reasoning == "add them"
    assert whole.content == "On it."
    [call] = whole.calls
    assert call.name == "add"
    assert json.loads(call.arguments) == {"a": 1}
    assert call.call_id.startswith("call_")
    assert reader.called
    assert reader.reasoning_tokens == 2 + len(text_model.encode("\nadd them\n", special=False))


def test_a_stop_string_is_not_looked_for_in_reasoning(text_model: TextModel) -> None:
    """It is about what the user sees; a thinking model would else never answer."""
    reader = chat_reader(text_model, "stop")
    tokens = text_model.encode("<think>stop?</think>go, stop now", special=False)
    whole = read(reader, tokens)
    assert (whole.reasoning, whole.content) == ("stop?", "go, ")
    assert reader.stopped


@pytest.mark.parametrize("call", ["not json", "[1]", '{"name": 5}', '{"arguments": {}}'])
def test_what_is_no_call_is_shown(text_model: TextModel, call: str) -> None:
    """The model's text is never lost."""
    reader = chat_reader(text_model)
    answer = f"<tool_call>{call}</tool_call>"
    whole = read(reader, text_model.encode(answer, special=False))
    assert whole.content == answer
    assert not whole.calls


def test_without_tools_the_markup_is_text(text_model: TextModel) -> None:
    """Nobody could do anything with a call."""
    whole = read(chat_reader(text_model, tools=False), text_model.encode(CALL, special=False))
    assert whole.content == CALL


def test_one_call_only(text_model: TextModel) -> None:
    """`parallel_tool_calls: false` ends the answer after the first."""
    reader = chat_reader(text_model, one_call=True)
    whole = read(reader, text_model.encode(f"{CALL}\n{CALL}", special=False))
    assert len(whole.calls) == 1
    assert reader.stopped


def test_parsers_may_return_lists_and_texts() -> None:
    """mlx-lm's parsers differ in that."""

    def parser(_text: str, _tools: Any) -> Any:
        return [{"name": "a", "arguments": '{"x": 1}'}, {"name": "b", "arguments": {}}]

    calls = parse_calls(parser, "", [])
    assert [(call.name, call.arguments) for call in calls] == [("a", '{"x": 1}'), ("b", "{}")]


def test_a_plain_reader_sees_no_sections(text_model: TextModel) -> None:
    """Completions are raw text."""
    text = f"<think>a</think> {CALL} end"
    reader = text_model.plain_reader(("end",))
    assert read(reader, text_model.encode(text, special=False)).content == text[:-3]
