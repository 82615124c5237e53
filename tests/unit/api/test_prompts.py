"""From a chat to a prompt: what a template can't do is the client's to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from daemon.api.context import INLINE_CHARACTERS, served_name
from daemon.errors import NotReady

if TYPE_CHECKING:
    from tests.support.served_api import ServedApi

CHAT = "/v1/chat/completions"


def chat(**more: Any) -> dict[str, Any]:
    """A chat body."""
    return {"model": "demo", "messages": [{"role": "user", "content": "hi"}]} | more


@pytest.mark.parametrize("name", ["chat_template", "tokenize", "self", "return_dict"])
async def test_options_of_transformers_are_no_template_options(api: ServedApi, name: str) -> None:
    """They would change the code's behaviour, or bring a template of the client's own."""
    response = await api.http.post(CHAT, json=chat(chat_template_kwargs={name: "x"}))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == f"chat_template_kwargs.{name}"


async def test_a_template_that_refuses(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """400 with the template's own words."""
    plain = cast("Any", api.engine.text)._tokenizer._tokenizer
    monkeypatch.setattr(plain, "chat_template", "{{ raise_exception('roles must alternate') }}")
    response = await api.http.post(CHAT, json=chat())
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "template_refusal"
    assert "roles must alternate" in response.json()["error"]["message"]


async def test_a_model_without_template(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chat is refused, completions work."""
    monkeypatch.setattr(api.engine.text, "has_chat_template", False)
    response = await api.http.post(CHAT, json=chat())
    assert response.json()["error"]["code"] == "no_chat_template"
    completion = await api.http.post("/v1/completions", json={"model": "demo", "prompt": "a"})
    assert completion.status_code == 200


async def test_long_prompts_are_encoded_elsewhere(api: ServedApi) -> None:
    """With the same result."""
    text = "a" * (INLINE_CHARACTERS + 1)
    response = await api.http.post("/tokenize", json={"prompt": text})
    assert response.json()["count"] == len(text)


async def test_the_context_is_known_while_the_engine_is_down(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the model's config: a prompt that is too long is refused all the same."""

    async def down() -> None:
        raise NotReady("rank 0 is not up")

    monkeypatch.setattr(api.engine, "describe", down)
    assert (await api.http.get("/v1/models")).json()["data"][0]["max_model_len"] == 512
    long = chat(messages=[{"role": "user", "content": "x" * 600}])
    response = await api.http.post(CHAT, json=long)
    assert response.json()["error"]["code"] == "context_length_exceeded"
    status = (await api.http.get("/status")).json()
    assert (status["status"], status["waiting_for"]) == ("starting", "rank 0's engine")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("demo", "demo"),
        ("owner/name-8bit", "owner/name-8bit"),
        ("/models/name-8bit", "name-8bit"),
        ("./name", "name"),
        ("~/models/x/name", "name"),
        ("a/b/c", "c"),
    ],
)
def test_served_names(model: str, name: str) -> None:
    """Hub ids as they are, folders by their last part."""
    assert served_name(model) == name
