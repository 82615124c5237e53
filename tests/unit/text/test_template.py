"""Messages reach the chat template in the form that templates know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jinja2 import TemplateError

from daemon.errors import ModelError
from daemon.text.loader import load_text_model
from daemon.text.template import TemplateRefusal, render

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.text.model import TextModel


def capture(seen: list[Any]) -> Any:
    """A template that only notes what it gets."""

    def apply(messages: Any, **options: Any) -> str:
        seen.append((messages, options))
        return "prompt<think>\n"

    return apply


def test_roles_parts_and_arguments() -> None:
    """Developer is system, parts are joined, arguments are objects where they parse."""
    seen: list[Any] = []
    call: dict[str, Any] = {"id": "1", "type": "function"}
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": [{"text": "a"}, {"text": "b"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {**call, "function": {"name": "f", "arguments": '{"x": 1}'}},
                {**call, "function": {"name": "f", "arguments": "{broken"}},
            ],
        },
    ]
    chat = render(capture(seen), messages, [], {"enable_thinking": True}, "<think>")
    [(plain, options)] = seen
    assert plain[0] == {"role": "system", "content": "ab"}
    assert [c["function"]["arguments"] for c in plain[1]["tool_calls"]] == [{"x": 1}, "{broken"]
    assert plain[1]["content"] == ""
    assert options["tools"] is None
    assert options["enable_thinking"] is True
    assert chat.in_reasoning


def test_the_thinking_switch(text_model: TextModel) -> None:
    """Off, the template closes the thinking before the model can begin it."""
    messages = [{"role": "user", "content": "hi"}]
    on = text_model.render(messages, None, {"enable_thinking": True})
    off = text_model.render(messages, None, {"enable_thinking": False})
    assert off.text == on.text + "<think>\n\n</think>\n\n"
    assert not off.in_reasoning


def test_a_template_that_raises_is_a_refusal() -> None:
    """Templates check the order of roles, for example."""

    def apply(*_args: Any, **_kwargs: Any) -> str:
        raise TemplateError("roles must alternate")

    with pytest.raises(TemplateRefusal, match="roles must alternate"):
        render(apply, [{"role": "user", "content": ""}], None, {}, "")


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    """One line that says which folder."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="no tokenizer"):
        load_text_model(tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="no JSON"):
        load_text_model(tmp_path)


def test_end_ids_and_context_come_from_the_config(text_model: TextModel) -> None:
    """Both end-of-turn and end-of-text stop an answer."""
    assert [text_model.token_text(i) for i in text_model.stop_ids] == [
        "<|endoftext|>",
        "<|im_end|>",
    ]
    assert text_model.max_context == 512


def test_without_a_switch_the_template_decides(text_model: TextModel) -> None:
    """The demo model's template answers directly; others think unless told not to."""
    messages = [{"role": "user", "content": "hi"}]
    assert text_model.render(messages, None, {}) == text_model.render(
        messages, None, {"enable_thinking": False}
    )
