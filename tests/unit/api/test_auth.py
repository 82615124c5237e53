"""Keys: asked for only where a key file says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

from daemon.api.auth import read_keys
from daemon.errors import SettingsError
from daemon.settings import ApiPart
from tests.support.served_api import served

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.text.model import TextModel
    from tests.support.fake_engine import FakeEngine


async def test_keys(tmp_path: Path, engine: FakeEngine, text_model: TextModel) -> None:
    """401 as an object without the right one; health and docs stay open."""
    keys = tmp_path / "keys"
    keys.write_text("# ours\nsecret-one  # Anna\n\nsecret-two\n", encoding="utf-8")
    async with served(engine, text_model, ApiPart(key_file=str(keys))) as api:
        body: dict[str, Any] = {"model": "demo", "prompt": "a"}
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic secret-one"},
            {"Authorization": "Bearer"},
        ):
            response = await api.http.post("/v1/completions", json=body, headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["www-authenticate"] == "Bearer"
        for key in ("secret-one", "secret-two"):
            headers = {"Authorization": f"Bearer {key}"}
            response = await api.http.post("/v1/completions", json=body, headers=headers)
            assert response.status_code == 200
        with pytest.raises(openai.AuthenticationError):
            await api.openai.models.list()
        assert (await api.http.get("/health")).status_code == 200
        assert (await api.http.get("/docs")).status_code == 200
        assert (await api.http.get("/metrics")).status_code == 401


def test_a_key_file_that_is_no_good(tmp_path: Path) -> None:
    """Said at the start: an endpoint that is open by accident is worse than none."""
    with pytest.raises(SettingsError, match="can't be read"):
        read_keys(str(tmp_path / "missing"))
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="holds no key"):
        read_keys(str(empty))
