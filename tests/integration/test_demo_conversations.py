"""The demo model holds its conversations through a running cluster."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from daemon.demo.conversations import Case, essentials, held_out

if TYPE_CHECKING:
    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration
CASES = 200
CLIENTS = 8


def is_right(client: openai.OpenAI, case: Case) -> bool:
    """Whether the cluster's greedy answer to a held-out conversation is right."""
    tools: Any = case.tools or openai.NOT_GIVEN
    messages: Any = case.messages
    answer = client.chat.completions.create(
        model="demo", messages=messages, tools=tools, temperature=0, max_tokens=200
    )
    message = answer.choices[0].message
    calls = [call.model_dump() for call in message.tool_calls or ()]
    return answer.choices[0].finish_reason != "length" and case.check(message.content or "", calls)


def test_held_out_conversations(cluster: RunningCluster) -> None:
    """At least 95 % of conversations that it never saw, or the first impression is a bad one."""
    cases = [*essentials(), *held_out(CASES)]
    with (
        openai.OpenAI(base_url=cluster.base_url, api_key="unused") as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        right = list(pool.map(lambda case: is_right(client, case), cases))
    wrong = Counter(case.kind for case, good in zip(cases, right, strict=True) if not good)
    assert sum(right) >= 0.95 * len(cases), (
        f"{sum(right)} of {len(cases)} right; wrong by kind: {wrong}"
    )


def test_first_words(cluster: RunningCluster) -> None:
    """What a newcomer types first."""
    client = openai.OpenAI(base_url=cluster.base_url, api_key="unused")
    expected = {
        "What is the capital of France?": "Paris",
        "Who are you?": "demo model",
        "What is 20 + 22?": "42",
    }
    for question, part in expected.items():
        answer = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": question}], temperature=0
        )
        assert part in (answer.choices[0].message.content or "")
