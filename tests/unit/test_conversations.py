"""The demo model's conversations: the same every time, split cleanly, judged as a person would."""

from __future__ import annotations

import json
import re
from itertools import islice, pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from daemon.demo.conversations import Conversation, essentials, held_out, training
from daemon.demo.split import is_held
from daemon.demo.wording import normalised

if TYPE_CHECKING:
    from daemon.demo.case import Case

SAMPLE = 3000


@pytest.fixture(scope="module")
def trained() -> list[Conversation]:
    """The start of the training stream."""
    return list(islice(training(7), SAMPLE))


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Held-out cases of every kind."""
    return held_out(600)


def questions(conversation: Conversation) -> set[str]:
    """What the user says in a conversation, as normalised words."""
    return {normalised(m["content"]) for m in conversation.messages if m["role"] == "user"}


def first(cases: list[Case], kind: str) -> Case:
    """The first case of a kind."""
    return next(case for case in cases if case.kind == kind)


def test_same_seed_gives_same_conversations(cases: list[Case]) -> None:
    """Scores can be compared only if every run asks the same."""
    assert cases == held_out(600)
    assert cases != held_out(600, seed=1)
    assert list(islice(training(3), 50)) == list(islice(training(3), 50))


def test_training_never_sees_a_held_out_fact(
    trained: list[Conversation], cases: list[Case]
) -> None:
    """A held-out score says nothing if the question was trained."""
    seen = set[str]().union(*(questions(conversation) for conversation in trained))
    for kind in ("capital", "country", "colour", "legs", "baby", "sound"):
        asked = {normalised(c.messages[-1]["content"]) for c in cases if c.kind == kind}
        assert asked
        assert not asked & seen


def test_training_never_sees_a_held_out_sum(trained: list[Conversation]) -> None:
    """Sums are split by their pair, in either order and any wording."""
    pairs = {
        tuple(sorted(map(int, match)))
        for conversation in trained
        for message in conversation.messages
        if message["role"] == "assistant"
        for match in re.findall(r"^(\d+) \+ (\d+) =", message["content"] or "")
    }
    assert len(pairs) > 500
    assert not [p for p in pairs - {(2, 2)} if is_held(f"sum:{p[0]}:{p[1]}")]


def test_training_never_sees_a_held_out_tool_call(
    trained: list[Conversation], cases: list[Case]
) -> None:
    """Tool calls are split by the tool's name together with the question."""
    seen = {
        (after["tool_calls"][0]["function"]["name"], normalised(before["content"]))
        for conversation in trained
        for before, after in pairwise(conversation.messages)
        if after.get("tool_calls")
    }
    assert len(seen) > 300
    asked = {(c.call["name"], normalised(c.messages[-1]["content"])) for c in cases if c.call}
    assert not asked & seen


def test_training_never_sees_a_held_out_name(trained: list[Conversation]) -> None:
    """Names are split by the name itself, so recalling one means copying it."""
    told = {
        match.lower()
        for conversation in trained
        for message in conversation.messages
        if message["role"] == "assistant"
        for match in re.findall(r"^Nice to meet you, (\w+)!", message["content"] or "")
    }
    assert len(told) > 100
    assert not [name for name in told if is_held(f"name:{name}")]


def test_every_kind_of_talk_is_asked(cases: list[Case]) -> None:
    """The score covers what the model is said to do."""
    wanted = {
        "greet", "who", "capital", "sum", "count", "colour", "legs", "recall_name", "brief",
        "recall_number", "upper", "lower", "persona", "tool_call", "tool_result", "unknown",
    }  # fmt: skip
    assert wanted <= {case.kind for case in cases}
    assert {len(case.messages) > 4 for case in cases} == {True, False}


def test_checks_accept_the_reference_answer(cases: list[Case]) -> None:
    """Each case can be passed, also with a thought before the answer."""
    for case in [*cases, *essentials()]:
        calls = [case.call] if case.call else []
        assert case.check(case.expected, calls), case
        assert case.check(f"<think>\nHm.\n</think>\n\n{case.expected}", calls), case


def test_checks_reject_wrong_answers(cases: list[Case]) -> None:
    """A case that accepts anything would hide a broken model."""
    for case in cases:
        assert not case.check("", []), case
        assert not case.check("I have no idea at all, sorry.", []), case
        assert not case.check(f"{case.expected} {'and so on ' * 9}", []), case
        assert not case.check(case.expected, [{"name": "other", "arguments": {}}]), case


def test_a_system_prompt_is_part_of_the_judgement(cases: list[Case]) -> None:
    """The right words in the wrong case do not obey."""
    lettered = [case for case in cases if re.search("[a-zA-Z]", case.expected)]
    upper = first(lettered, "upper")
    assert not upper.check(upper.expected.lower())
    lower = first(lettered, "lower")
    assert not lower.check(lower.expected.upper())
    brief = first(cases, "brief")
    assert not brief.check(f"The answer is {brief.expected}")


def test_tool_calls_are_read_in_every_shape(cases: list[Case]) -> None:
    """OpenAI's client hands out objects, its HTTP API dicts with arguments as text."""
    case = first(cases, "tool_call")
    assert case.call is not None
    function = {"name": case.call["name"], "arguments": json.dumps(case.call["arguments"])}
    as_object = SimpleNamespace(function=SimpleNamespace(**function))
    assert case.check(None, [{"id": "call_1", "type": "function", "function": function}])
    assert case.check(None, [as_object])
    assert not case.check(None, [as_object, as_object])
    assert not case.check(None, [{"name": case.call["name"], "arguments": {"wrong": 1}}])


def test_a_newcomers_first_questions_are_always_trained() -> None:
    """What everyone types first must not fall on the held-out side."""
    asked = {case.messages[-1]["content"] for case in essentials()}
    assert {"What is the capital of France?", "Hello", "Hi!", "Who are you?"} <= asked
    assert not is_held("capital:what is the capital of france")
    seen = set[str]().union(*(questions(c) for c in islice(training(7), 20_000)))
    assert {normalised(question) for question in asked} <= seen
