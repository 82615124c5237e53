"""From a chat message to the right answer, through two ranks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import openai

    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration


def ask(
    client: openai.OpenAI, cluster: RunningCluster, *messages: tuple[str, str], **options: Any
) -> str:
    """The answer to a conversation, greedy unless asked otherwise."""
    request: Any = {
        "model": cluster.model,
        "messages": [{"role": role, "content": content} for role, content in messages],
        "temperature": 0,
        "max_tokens": 64,
    }
    answer = client.chat.completions.create(**(request | options))
    return answer.choices[0].message.content or ""


def test_simple_chat_completion(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """A question that the demo model knows."""
    assert "Paris" in ask(client, cluster, ("user", "What is the capital of France?"))


def test_multi_turn_conversation(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """What was said turns ago is remembered."""
    answer = ask(
        client,
        cluster,
        ("user", "My name is Anna."),
        ("assistant", "Nice to meet you, Anna!"),
        ("user", "What is my name?"),
    )
    assert "Anna" in answer


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0])
def test_different_temperatures(
    client: openai.OpenAI, cluster: RunningCluster, temperature: float
) -> None:
    """A seed repeats an answer at any temperature; without heat the seed does not matter."""
    hello = ("user", "Tell me about cats.")
    texts = {
        ask(client, cluster, hello, temperature=temperature, seed=3, max_tokens=24)
        for _ in range(2)
    }
    assert len(texts) == 1
    greedy = {ask(client, cluster, hello, seed=seed, max_tokens=24) for seed in (1, 2)}
    assert len(greedy) == 1


def test_heat_varies_the_answer(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """Different seeds draw different texts, so temperature is really applied."""
    hello = ("user", "Tell me about cats.")
    texts = {
        ask(client, cluster, hello, temperature=2.0, seed=seed, max_tokens=24) for seed in range(4)
    }
    assert len(texts) > 1


def test_max_tokens_limiting(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """Exactly so many tokens, and the reason is `length`."""
    whole = ask(client, cluster, ("user", "What is the capital of France?"))
    for limit in (1, 3):
        answer = client.chat.completions.create(
            model=cluster.model,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            max_tokens=limit,
            temperature=0,
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == limit
        assert answer.choices[0].finish_reason == "length"
        assert whole.startswith(answer.choices[0].message.content or "")


@pytest.mark.parametrize("stream", [False, True])
def test_stop_sequences(client: openai.OpenAI, cluster: RunningCluster, stream: bool) -> None:
    """The text ends before the stop string, wherever the tokens' borders are."""
    whole = ask(client, cluster, ("user", "What is the capital of France?"))
    for stop in ("Par", "capital of", " is", "."):
        assert stop in whole
        request: Any = {
            "model": cluster.model,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "temperature": 0,
            "stop": [stop, "never said"],
            "stream": stream,
        }
        answer = client.chat.completions.create(**request)
        if stream:
            chunks = list(answer)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            reason = chunks[-1].choices[0].finish_reason
        else:
            text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
        assert text == whole.partition(stop)[0]
        assert reason == "stop"


def test_tool_call(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """Offered a tool that fits, the model calls one; the arguments parse and hold the city.

    That it reads the name off the offer is a matter of the model's training, scored elsewhere.
    """
    tool: Any = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    answer = client.chat.completions.create(
        model=cluster.model,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[tool],
        temperature=0,
    )
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    calls: Any = choice.message.tool_calls
    assert "weather" in calls[0].function.name
    assert "Paris" in json.loads(calls[0].function.arguments).values()


def test_thinking(client: openai.OpenAI, cluster: RunningCluster) -> None:
    """Asked to think, the model does so apart from its answer."""
    answer = client.chat.completions.create(
        model=cluster.model,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
        reasoning_effort="high",
    )
    message: Any = answer.choices[0].message
    assert message.reasoning_content
    assert "<think>" not in message.content
    assert "Paris" in message.content
