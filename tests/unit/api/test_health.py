"""What load balancers, people and Prometheus are told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.errors import NotReady
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


async def samples(api: ServedApi) -> dict[str, float]:
    """Every sample, by name and labels."""
    text = (await api.http.get("/metrics")).text
    return {
        f"{s.name}{sorted(s.labels.values())}": s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


async def test_models(api: ServedApi) -> None:
    """One, with the length of its context."""
    [model] = (await api.openai.models.list()).data
    assert (model.id, model.object, model.owned_by) == ("demo", "model", "mlxconsole")
    assert model.model_dump()["max_model_len"] == 512
    assert (await api.openai.models.retrieve("demo")).id == "demo"


async def test_health_is_a_real_probe(api: ServedApi) -> None:
    """Through all ranks: fine while they answer, 503 with the reason when one does not."""
    response = await api.http.get("/health")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert api.engine.probes == 1


async def test_many_probes_are_one(api: ServedApi) -> None:
    """Balancers that ask often take no rank's time."""
    await asyncio.gather(*(api.http.get("/health") for _ in range(20)))
    assert api.engine.probes == 1


async def test_ill_health_says_why(api: ServedApi) -> None:
    """And when to ask again."""
    api.engine.probe_error = NotReady("rank 1 is missing")
    response = await api.http.get("/health")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reason": "rank 1 is missing"}
    assert "retry-after" in response.headers


async def test_status(api: ServedApi) -> None:
    """What is served, by how many, and whether it is ready."""
    status = (await api.http.get("/status")).json()
    assert (status["status"], status["model"], status["max_model_len"]) == ("ready", "demo", 512)
    assert (status["sequences_running"], status["requests_queued"]) == (0, 3)
    api.engine.ready = False
    assert (await api.http.get("/status")).json()["status"] == "starting"


async def test_metrics_are_exact(api: ServedApi) -> None:
    """Requests, tokens and what is in flight; nothing is counted twice."""
    before = await samples(api)
    assert before["mlxconsole_requests_in_flight[]"] == 0, "who reads it is not counted"
    api.engine.cached_tokens = 2
    for stream in (False, True):
        request: Any = {"model": "demo", "messages": HI, "stream": stream, "n": 2}
        await api.http.post("/v1/chat/completions", json=request)
    await api.http.post("/v1/chat/completions", json={"model": "demo"})
    await api.http.get("/nowhere")
    after = await samples(api)
    chat = "'/v1/chat/completions', '200', 'POST'"
    tokens = len(api.engine.ids("Hello there."))
    prompt = len(api.engine.calls[0].prompt_ids)
    assert after[f"mlxconsole_requests_total[{chat}]"] == 2
    assert after["mlxconsole_requests_total['/v1/chat/completions', '400', 'POST']"] == 1
    assert after["mlxconsole_requests_total['404', 'GET', 'other']"] == 1
    assert after["mlxconsole_completion_tokens_total[]"] == 4 * tokens
    assert after["mlxconsole_prompt_tokens_total[]"] == 2 * prompt
    assert after["mlxconsole_cached_prompt_tokens_total[]"] == 4
    assert after["mlxconsole_time_to_first_token_seconds_count[]"] == 2
    assert after["mlxconsole_requests_in_flight[]"] == 0
    assert after["mlxconsole_requests_cancelled_total[]"] == 0


async def test_metrics_page(api: ServedApi) -> None:
    """HELP and TYPE for each."""
    response = await api.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in ("# HELP mlxconsole_requests_total", "# TYPE mlxconsole_requests_total counter"):
        assert line in response.text
    assert "# TYPE mlxconsole_request_duration_seconds histogram" in response.text


async def test_a_client_that_leaves_is_counted(api: ServedApi) -> None:
    """As cancelled, with status 499."""
    api.engine.allowed = asyncio.Semaphore(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await api.http.post("/v1/completions", json={"model": "demo", "prompt": "a"})
    await until(lambda: api.engine.live == 0)
    after = await samples(api)
    assert after["mlxconsole_requests_cancelled_total[]"] == 1
    assert after["mlxconsole_requests_total['/v1/completions', '499', 'POST']"] == 1
