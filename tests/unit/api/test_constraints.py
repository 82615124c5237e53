"""Which requests bring a grammar, and how answers that keep to one are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi

HI: Any = [{"role": "user", "content": "hi"}]
LOOSE: Any = {"parameters": {"type": "object"}}
OBJECT: Any = {"type": "json_object"}
FLAG: Any = {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}
FLAG["additionalProperties"] = False


def tool(name: str, **more: Any) -> Any:
    """A function that takes a flag."""
    return {"type": "function", "function": {"name": name, "parameters": FLAG, **more}}


def call(arguments: str, name: str = "f") -> str:
    """As the model writes it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


async def ask(api: ServedApi, answer: str = "{}<|im_end|>", **more: Any) -> tuple[Any, str]:
    """The choice, and the grammar that the engine was given."""
    api.engine.say(answer)
    result = await api.openai.chat.completions.create(model="demo", messages=HI, **more)
    return result.choices[0], api.engine.calls[-1].sampling.grammar


@pytest.mark.parametrize(
    "free",
    [
        {},
        {"response_format": {"type": "text"}},
        {"tools": [tool("f")]},
        {"tools": [tool("f")], "tool_choice": "auto"},
        {"tools": [tool("f", strict=True)], "tool_choice": "none"},
    ],
    ids=str,
)
async def test_who_asks_for_nothing_gets_no_grammar(api: ServedApi, free: Any) -> None:
    """And so pays nothing."""
    assert (await ask(api, **free))[1] == ""


@pytest.mark.parametrize(
    ("asked", "has", "has_not"),
    [
        ({"response_format": OBJECT}, ["form: %json"], ["calls"]),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            ['%json {\\"type\\": \\"object\\"'],
            [],
        ),
        (
            {"response_format": OBJECT, "tools": [tool("f")]},
            ["(form | calls)", "<[", '%json {\\"type\\": \\"object\\", \\"x-guidance\\"'],
            ["boolean"],
        ),
        ({"tools": [tool("f")], "tool_choice": "required"}, ["(calls)", "boolean"], ["TEXT"]),
        (
            {"tools": [tool("f")], "tool_choice": "required", "response_format": OBJECT},
            ["(calls)"],
            ["form"],
        ),
        ({"tools": [tool("f", strict=True)]}, ["(TEXT? calls?)", "boolean"], []),
        (
            {
                "tools": [tool("f"), tool("g")],
                "tool_choice": {"type": "function", "function": {"name": "g"}},
            },
            ["function_0: ", "calls: call\\n"],
            ["function_1", "call{0"],
        ),
    ],
    ids=str,
)
async def test_who_asks_for_a_form_gets_a_grammar(
    api: ServedApi, asked: Any, has: list[str], has_not: list[str]
) -> None:
    """Of what was asked for, and nothing else."""
    grammar = (await ask(api, **asked))[1]
    assert [part for part in has if part not in grammar] == []
    assert [part for part in has_not if part in grammar] == []


@pytest.mark.parametrize(
    ("options", "thinks"),
    [
        ({}, False),
        ({"reasoning_effort": "high"}, True),
        ({"reasoning_effort": "none"}, False),
    ],
    ids=str,
)
async def test_thinking_is_free(api: ServedApi, options: Any, thinks: bool) -> None:
    """Where the prompt has not closed it."""
    grammar = (await ask(api, response_format=OBJECT, **options))[1]
    assert ("thought)? (form)" in grammar) == thinks
    assert ("start: (form)" in grammar) == (not thinks)


async def test_a_forced_call_is_read_whatever_it_quotes(api: ServedApi) -> None:
    """`</tool_call>` in an argument is an argument."""
    arguments = '{"b": "</tool_call><tool_call>"}'
    choice, _ = await ask(
        api, call(arguments) + "<|im_end|>", tools=[tool("f")], tool_choice="required"
    )
    assert choice.finish_reason == "tool_calls"
    assert [c.function.arguments for c in choice.message.tool_calls] == [arguments]
    assert choice.message.content is None


async def test_json_that_quotes_a_call_is_text(api: ServedApi) -> None:
    """With tools at hand the model may answer instead."""
    answer = '{"a": "<tool_call>{}</tool_call>"}'
    choice, _ = await ask(api, answer + "<|im_end|>", tools=[tool("f")], response_format=OBJECT)
    assert (choice.message.content, choice.finish_reason) == (answer, "stop")
    assert not choice.message.tool_calls


async def test_an_answer_that_is_cut_says_so(api: ServedApi) -> None:
    """It can't parse, and `length` tells why."""
    choice, _ = await ask(api, '{"a": "long"}', response_format=OBJECT, max_tokens=5)
    assert choice.finish_reason == "length"
    assert len(choice.message.content) <= 5


async def test_responses_are_held_to_forms_too(api: ServedApi) -> None:
    """The same, by the other names; and they are told back."""
    form: Any = {"type": "json_schema", "name": "x", "schema": FLAG, "strict": True}
    function: Any = {"type": "function", "name": "g", "parameters": FLAG, "strict": True}
    choice: Any = {"type": "function", "name": "g"}
    api.engine.say('{"b": true}<|im_end|>')
    response = await api.openai.responses.create(model="demo", input="hi", text={"format": form})
    assert response.output_text == '{"b": true}'
    assert response.text is not None
    assert response.text.format is not None
    assert response.text.format.type == "json_schema"
    assert "form: %json" in api.engine.calls[-1].sampling.grammar
    api.engine.say(call('{"b": true}', "g") + "<|im_end|>")
    response = await api.openai.responses.create(
        model="demo", input="hi", tools=[function], tool_choice=choice
    )
    assert [item.type for item in response.output] == ["function_call"]
    assert "calls: call\\n" in api.engine.calls[-1].sampling.grammar


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}},
                }
            },
            "response_format",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True, **LOOSE}}]},
            "tools[0].function.parameters",
        ),
    ],
    ids=str,
)
async def test_strict_has_rules_of_its_own(api: ServedApi, asked: Any, param: str) -> None:
    """The same schemas are fine without."""
    body = {"model": "demo", "messages": HI} | asked
    response = await api.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert "'additionalProperties' is required" in response.json()["error"]["message"]
