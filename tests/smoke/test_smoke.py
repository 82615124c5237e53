"""The plan's four smoke tests: does the system basically work?"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import openai
import pytest

from daemon.execution.card import inspect
from daemon.execution.source import model_path

if TYPE_CHECKING:
    from tests.support.running_cluster import RunningCluster

pytestmark = [pytest.mark.smoke, pytest.mark.integration]


@pytest.fixture
def client(cluster: RunningCluster) -> openai.OpenAI:
    """The official client, pointed at the cluster."""
    return openai.OpenAI(base_url=cluster.base_url, api_key="unused", max_retries=0)


def test_grpc_server_startup(cluster: RunningCluster) -> None:
    """Every rank listens on its data port and says that it is ready."""
    ranks = cluster.once()["ranks"]
    assert [(r["rank"], r["state"]) for r in ranks] == [(0, "READY"), (1, "READY")]
    for rank in ranks:
        with socket.create_connection((rank["host"], rank["port"]), timeout=2):
            pass


def test_api_server_responds(cluster: RunningCluster, client: openai.OpenAI) -> None:
    """/v1/models names the model that the cluster was started with."""
    assert [model.id for model in client.models.list()] == [cluster.model]


def test_model_loading(cluster: RunningCluster) -> None:
    """The ranks hold all layers of the model, each of them once, and nothing twice."""
    card = inspect(model_path(cluster.model))
    ranks = cluster.once()["ranks"]
    assert [tuple(r["layers"]) for r in ranks] == [(0, card.n_layers // 2), (4, card.n_layers)]
    assert all(r["memory"]["weights_bytes"] > 0 for r in ranks)


def test_single_inference(cluster: RunningCluster, client: openai.OpenAI) -> None:
    """A question gets its answer."""
    answer = client.chat.completions.create(
        model=cluster.model,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
