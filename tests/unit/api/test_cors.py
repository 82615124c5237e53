"""Web pages of other origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


async def test_any_page_may_ask_unless_told_otherwise(api: ServedApi) -> None:
    """As at OpenAI; also where the answer is an error, or no such URL."""
    for path in ("/v1/chat/completions", "/v1/nothing"):
        asked = await api.http.options(path, headers=ASK)
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == "*"
        assert (
            asked.headers["access-control-allow-headers"] == ASK["Access-Control-Request-Headers"]
        )
        answer = await api.http.post(path, json={}, headers={"Origin": ASK["Origin"]})
        assert answer.status_code >= 400
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]


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
