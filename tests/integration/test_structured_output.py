"""Constrained answers from a real cluster of random weights, also when a rank dies on the way."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import psutil
import pytest

from tests.support.json_schema import faults
from tests.support.running_cluster import start_cluster
from tests.support.schemas import POINT, SCHEMAS
from tests.support.servable_model import write_servable_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.running_cluster import RunningCluster

pytestmark = pytest.mark.integration
HI: Any = [{"role": "user", "content": "hi"}]
KILL_AT = 40
"""Tokens of all streams together: none of them has ended, none has just begun."""
LONG: Any = {"type": "array", "items": POINT, "minItems": 12, "maxItems": 12}


@pytest.fixture(scope="module")
def random_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Two ranks whose model knows nothing, least of all JSON."""
    folder = write_servable_model(tmp_path_factory.mktemp("random"), layers=4)
    running = start_cluster(tmp_path_factory.mktemp("cluster"), model=str(folder))
    yield running
    done = running.down()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture
def client(random_cluster: RunningCluster) -> Iterator[openai.OpenAI]:
    """The official client."""
    with openai.OpenAI(base_url=random_cluster.base_url, api_key="none", max_retries=0) as made:
        yield made


def schema_format(schema: Any) -> Any:
    """The parameter that asks for it."""
    named = {"name": "it", "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def served(client: openai.OpenAI) -> str:
    """The model's name."""
    return client.models.list().data[0].id


@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_validate(name: str, client: openai.OpenAI) -> None:
    """Default temperature; several choices."""
    answer = client.chat.completions.create(
        model=served(client), messages=HI, response_format=schema_format(SCHEMAS[name]), n=3
    )
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        assert faults(json.loads(choice.message.content or ""), SCHEMAS[name]) == []


def test_forced_calls_validate(client: openai.OpenAI) -> None:
    """One that is named, and one or more that are not."""
    tools: Any = [
        {"type": "function", "function": {"name": name, "parameters": SCHEMAS[schema]}}
        for name, schema in (("first", "optional"), ("second", "nested objects"))
    ]
    schemas = {"first": SCHEMAS["optional"], "second": SCHEMAS["nested objects"]}
    named: Any = {"type": "function", "function": {"name": "second"}}
    choices: list[tuple[Any, bool]] = [("required", False), ("required", True), (named, True)]
    for choice, alone in choices:
        answer = client.chat.completions.create(
            model=served(client),
            messages=HI,
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=not alone,
        )
        calls: Any = answer.choices[0].message.tool_calls
        assert answer.choices[0].finish_reason == "tool_calls"
        assert len(calls) == 1 if alone else calls
        for call in calls:
            arguments = json.loads(call.function.arguments)
            assert faults(arguments, schemas[call.function.name]) == []
            assert choice != named or call.function.name == "second"


def stream(client: openai.OpenAI, seed: int, on_event: Callable[[], None]) -> str:
    """One long answer."""
    text = ""
    for chunk in client.chat.completions.create(
        model=served(client),
        messages=HI,
        response_format=schema_format(LONG),
        seed=seed,
        stream=True,
    ):
        text += chunk.choices[0].delta.content or ""
        on_event()
    return text


@pytest.mark.parametrize("rank", [1, 0])
def test_a_rank_that_dies_changes_no_answer(
    rank: int, client: openai.OpenAI, random_cluster: RunningCluster
) -> None:
    """The last rank's grammars are made again and brought to where they were."""
    references = [stream(client, seed, lambda: None) for seed in (1, 2)]
    worker = psutil.Process(worker_of(random_cluster, rank))
    count, lock = iter(range(1_000_000)), threading.Lock()

    def on_event() -> None:
        with lock:
            due = next(count) == KILL_AT
        if due:
            worker.kill()

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda seed: stream(client, seed, on_event), (1, 2)))
    assert next(count) > KILL_AT
    assert worker_of(random_cluster, rank) != worker.pid
    assert answers == references
    for answer in answers:
        assert faults(json.loads(answer), LONG) == []


def worker_of(cluster: RunningCluster, rank: int) -> int:
    """The process id of a rank's worker now."""
    [row] = [row for row in cluster.once()["ranks"] if row["rank"] == rank]
    return row["pid"]
