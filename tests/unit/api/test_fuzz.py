"""No body, however odd, makes the server fail: it is answered, or refused with an error object."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.api.chat_rules import check_chat
from daemon.api.errors import ApiError
from daemon.api.schemas.chat import ChatRequest
from daemon.api.schemas.completion import CompletionRequest
from daemon.api.schemas.responses import ResponsesRequest
from daemon.api.validation import parse_body

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tests.support.served_api import ServedApi

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "function", "name", "x"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def refusal(kind: type[BaseModel], data: bytes) -> ApiError | None:
    """What is wrong with a body."""
    try:
        parsed = parse_body(kind, data)
        if isinstance(parsed, ChatRequest):
            check_chat(parsed)
    except ApiError as error:
        return error
    return None


@pytest.mark.parametrize("kind", [ChatRequest, CompletionRequest, ResponsesRequest])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_anywhere(kind: type[BaseModel], data: st.DataObject) -> None:
    """Parsed or refused; a refusal has words, and a code or a parameter."""
    names = st.sampled_from([*kind.model_fields, "other"])
    body = data.draw(st.dictionaries(names, values, max_size=4))
    body.setdefault("model", "demo")
    refused = refusal(kind, json.dumps(body).encode())
    if refused is not None:
        assert refused.status == 400
        assert refused.message
        assert refused.param or refused.code


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes(body: bytes) -> None:
    """JSON or not."""
    with pytest.raises(ApiError):
        parse_body(ChatRequest, body)


ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**64,
    1e300,
    "",
    "x",
    "\u0000",
    [],
    {},
    [[]],
    [None],
    {"type": 1},
    {"type": {}},
    [{"type": {}}],
]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "stop": ["a"],
        "logit_bias": {"1": 1},
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"enable_thinking": False},
    },
    "/v1/completions": {"prompt": [[1, 2], [3]], "echo": True, "logprobs": 1, "max_tokens": 3},
    "/v1/responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "1"},
        ],
        "tools": [{"type": "function", "name": "f"}],
        "reasoning": {"effort": "low"},
    },
    "/tokenize": {"prompt": "hi", "add_special_tokens": True},
    "/detokenize": {"tokens": [1, 2, 3]},
}


def mutated(rng: random.Random, value: Any) -> Any:
    """The value with one part of it replaced by something odd."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: mutated(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(rng, value[place]), *value[place + 1 :]]
    return rng.choice(ODD)


@pytest.mark.parametrize("path", BODIES)
async def test_near_misses_over_http(api: ServedApi, path: str) -> None:
    """Bodies that are almost right reach further than random ones."""
    rng = random.Random(7)
    for _ in range(80):
        body = mutated(rng, {"model": "demo", **BODIES[path]})
        response = await api.http.post(path, json=body)
        assert response.status_code < 500, (body, response.text)
        if response.status_code >= 400:
            error = response.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}, body
