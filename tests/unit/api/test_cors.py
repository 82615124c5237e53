"""Web pages of other origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.settings import ApiPart
from tests.support.served_api import served

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.text.model import TextModel
    from tests.support.fake_engine import FakeEngine
    from tests.support.served_api import ServedApi

ASK = {
    "Origin": "http://page.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


async def test_pages_of_this_machine_may_ask(api: ServedApi) -> None:
    """Local front ends need no setting; also where the answer is an error, or no such URL."""
    for origin in ("http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"):
        for path in ("/v1/chat/completions", "/v1/nothing"):
            asked = await api.http.options(path, headers=ASK | {"Origin": origin})
            assert asked.status_code == 204
            assert asked.headers["access-control-allow-origin"] == origin
            allowed = asked.headers["access-control-allow-headers"]
            assert allowed == ASK["Access-Control-Request-Headers"]
            answer = await api.http.post(path, json={}, headers={"Origin": origin})
            assert answer.status_code >= 400
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
            assert "x-request-id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://page.example",
        "http://localhost.page.example",
        "http://page.example/localhost",
        "http://127.0.0.1.page.example:80",
        "http://user@localhost",
        "file://localhost",
        "null",
    ],
)
async def test_other_pages_may_not(api: ServedApi, origin: str) -> None:
    """Without a key on the server, any page that its user visits could use the model."""
    asked = await api.http.options("/v1/chat/completions", headers=ASK | {"Origin": origin})
    assert asked.status_code != 204
    assert "access-control-allow-origin" not in asked.headers
    answer = await api.http.get("/v1/models", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_what_browsers_send_unasked_is_refused(api: ServedApi, kind: str) -> None:
    """For these types a browser asks no permission: they must start nothing."""
    body = b'{"model": "tiny", "prompt": "a"}'
    headers = {"Origin": "http://page.example"} | ({"Content-Type": kind} if kind else {})
    answer = await api.http.post("/v1/completions", content=body, headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_content_type"


async def test_any_page_if_told_so(engine: FakeEngine, text_model: TextModel) -> None:
    """As at OpenAI, where everyone has a key."""
    async with served(engine, text_model, ApiPart(cors_origin="*")) as api:
        asked = await api.http.options("/v1/models", headers=ASK)
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == "*"


async def test_one_origin_or_none(
    tmp_path: Path, engine: FakeEngine, text_model: TextModel
) -> None:
    """A preflight has no key, so none is asked for."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    one = ApiPart(cors_origin="http://page.example", key_file=str(keys))
    async with served(engine, text_model, one) as api:
        asked = await api.http.options("/v1/models", headers=ASK)
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == "http://page.example"
        assert asked.headers["vary"] == "Origin"
        refused = await api.http.get("/v1/models")
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "http://page.example"
    async with served(engine, text_model, ApiPart(cors_origin="")) as api:
        answer = await api.http.options("/v1/models", headers=ASK)
        assert "access-control-allow-origin" not in answer.headers
