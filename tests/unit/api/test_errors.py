"""Whatever goes wrong, the client gets OpenAI's error object and the right status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from daemon.api.choice import Choice
from daemon.errors import NotReady, PeerLost, QueueFull, StepFailed
from tests.support.fake_engine import FakeEngine

if TYPE_CHECKING:
    from httpx import Response

    from daemon.errors import ClusterError
    from tests.support.served_api import ServedApi

CHAT = "/v1/chat/completions"
HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f"}}
BAD_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}
ARRAY_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}
CALLED = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALL = {"role": "assistant", "tool_calls": [CALLED]}
ANSWER = {"role": "tool", "tool_call_id": "1", "content": "4"}
JSON = {"type": "json_object"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}
LARK = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: nothing"}}
REGEX = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a"}}


def error_of(response: Response) -> dict[str, Any]:
    """The error object, checked for its four members."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": [{"role": "x", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages[0].content[0].text",
            "invalid_type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content",
            "unsupported_content",
        ),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"temperature": -0.1}, "temperature", "decimal_below_min_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"top_p": 1.5}, "top_p", "decimal_above_max_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 10, "max_completion_tokens": 10}, "max_tokens", None),
        ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
        ({"stop": [""]}, "stop[0]", "empty_string"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"presence_penalty": 2.5}, "presence_penalty", "decimal_above_max_value"),
        ({"frequency_penalty": -3}, "frequency_penalty", "decimal_below_min_value"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "decimal_above_max_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"999999": 1}}, "logit_bias", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"seed": 2**63}, "seed", "integer_above_max_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"user": "x", "unheard_of": 1}, "unheard_of", "unknown_parameter"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tools": [{"type": "web"}]}, "tools[0].type", "invalid_value"),
        ({"tool_choice": "auto"}, "tool_choice", None),
        ({"tool_choice": "sometimes"}, "tool_choice", "invalid_value"),
        (
            {"tools": [BAD_TOOL], "tool_choice": "required"},
            "tools[0].function.parameters",
            "invalid_function_parameters",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            None,
        ),
        ({"response_format": SCHEMA}, "response_format", "unsupported_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        ({"response_format": LARK}, "response_format", "unsupported_parameter"),
        ({"response_format": REGEX}, "response_format", "unsupported_parameter"),
        ({"response_format": JSON, "ignore_eos": True}, "ignore_eos", None),
        ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
        ({"functions": [{}]}, "functions", "unsupported_parameter"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
        (
            {"messages": [{"role": "user", "content": "x" * 600}]},
            "messages",
            "context_length_exceeded",
        ),
        ({"max_tokens": 511}, "messages", "context_length_exceeded"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"metadata": {"a" * 65: ""}}, "metadata." + "a" * 65, "string_above_max_length"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "string_above_max_length"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "object_above_max_properties"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", None),
        ({"tools": [ARRAY_TOOL]}, "tools[0].function.parameters", "invalid_function_parameters"),
        ({"messages": [*HI, ANSWER]}, "messages[1].role", "invalid_value"),
        ({"messages": [*HI, CALL, *HI]}, "messages[1].role", "invalid_value"),
        ({"messages": [*HI, CALL]}, "messages[1].role", "invalid_value"),
        ({"messages": [*HI, CALL, ANSWER, CALL, *HI]}, "messages[3].role", "invalid_value"),
        ({"messages": [*HI, {"role": "assistant"}]}, "messages[1].content", "invalid_type"),
        ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
    ],
)
async def test_bad_values(
    api: ServedApi, change: dict[str, Any], param: str, code: str | None
) -> None:
    """400, the parameter's name, and OpenAI's code; nothing reaches the engine."""
    response = await api.http.post(CHAT, json={"model": "demo", "messages": HI} | change)
    error = error_of(response)
    assert response.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    if code is not None:
        assert error["code"] == code
    assert api.engine.calls == []


async def test_context_errors_hold_the_numbers(api: ServedApi) -> None:
    """And come as a status even if a stream was wanted."""
    messages: Any = [{"role": "user", "content": "x" * 600}]
    with pytest.raises(openai.BadRequestError) as caught:
        await api.openai.chat.completions.create(model="demo", messages=messages, stream=True)
    assert caught.value.code == "context_length_exceeded"
    assert "512 tokens" in caught.value.message


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"model": NaN}', b"[" * 5000, b'{"a":"\\ud800"}']
)
async def test_bodies_that_are_no_object(api: ServedApi, body: bytes) -> None:
    """400, never 500."""
    headers = {"content-type": "application/json"}
    response = await api.http.post(CHAT, content=body, headers=headers)
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


async def test_a_missing_model_and_an_unknown_one(api: ServedApi) -> None:
    """400 and 404, as OpenAI's clients expect."""
    assert (await api.http.post(CHAT, json={"messages": HI})).status_code == 400
    with pytest.raises(openai.NotFoundError) as caught:
        await api.openai.chat.completions.create(model="gpt-4o", messages=HI)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        await api.openai.models.retrieve("gpt-4o")


async def test_wrong_urls_methods_and_types(api: ServedApi) -> None:
    """Also what Quart itself refuses is an error object."""
    unknown = await api.http.post("/v1/embeddings", json={})
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "unknown_url")
    assert "not served here" in error_of(unknown)["message"]
    twice = await api.http.get("/v1//models")
    assert (twice.status_code, error_of(twice)["code"]) == (404, "unknown_url")
    method = await api.http.get(CHAT)
    assert (method.status_code, error_of(method)["code"]) == (405, "method_not_allowed")
    assert "POST" in method.headers["allow"]
    form = await api.http.post(CHAT, data={"model": "demo"})
    assert (form.status_code, error_of(form)["code"]) == (415, "unsupported_content_type")
    untyped = await api.http.post(
        CHAT, content=json.dumps({"model": "demo", "messages": HI}).encode()
    )
    assert untyped.status_code == 200


@pytest.mark.parametrize(
    ("raised", "status", "kind"),
    [
        (QueueFull("256 requests wait: try again later"), 429, openai.RateLimitError),
        (NotReady("rank 1 is missing"), 503, openai.InternalServerError),
        (PeerLost("gone", peer=1), 503, openai.InternalServerError),
        (StepFailed("out of memory"), 500, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_engine_refuses(
    api: ServedApi,
    raised: ClusterError,
    status: int,
    kind: type[openai.APIStatusError],
    stream: bool,
) -> None:
    """The status, not a stream that breaks; the reason in words; when to come back."""
    api.engine.refusal = raised
    request: Any = {"model": "demo", "messages": HI, "stream": stream}
    with pytest.raises(kind) as caught:
        await api.openai.chat.completions.create(**request)
    assert caught.value.status_code == status
    assert str(raised) in caught.value.message
    assert ("retry-after" in caught.value.response.headers) == (status in {429, 503})


async def test_an_error_in_the_middle_of_a_stream(api: ServedApi) -> None:
    """What came before is delivered, then the error as an event: never a silent end."""
    api.engine.failure = (3, StepFailed("rank 1 ran out of memory"))
    response = await api.http.post(CHAT, json={"model": "demo", "messages": HI, "stream": True})
    assert response.status_code == 200
    *events, error = [e[6:] for e in response.text.split("\n\n") if e]
    assert json.loads(error)["error"]["message"] == "rank 1 ran out of memory"
    texts = [json.loads(e)["choices"][0]["delta"].get("content") for e in events]
    assert "".join(text or "" for text in texts) == "Hel"
    with pytest.raises(openai.APIError, match="out of memory"):
        async for _ in await api.openai.chat.completions.create(
            model="demo",
            messages=HI,  # type: ignore[arg-type]
            stream=True,
        ):
            pass


@pytest.mark.parametrize("place", [(FakeEngine, "submit"), (Choice, "read")])
async def test_bugs_are_logged_and_not_told(
    api: ServedApi,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[type, str],
) -> None:
    """A 500 with a plain sentence; the traceback goes to the log."""

    def broken(*_: Any) -> list[int]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(*place, broken)
    response = await api.http.post(CHAT, json={"model": "demo", "messages": HI})
    assert response.status_code == 500
    assert "secret" not in error_of(response)["message"]
    assert "secret detail" in caplog.text
