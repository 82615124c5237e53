"""docs/api.md tells of every parameter that the official package knows, and so does the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai.types import completion_create_params as completions
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses

from daemon.api.schemas.chat import ChatRequest
from daemon.api.schemas.completion import CompletionRequest
from daemon.api.schemas.responses import ResponsesRequest

if TYPE_CHECKING:
    from pydantic import BaseModel

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
THEIRS: list[tuple[str, Any, type[BaseModel]]] = [
    ("Chat", chat.CompletionCreateParamsBase, ChatRequest),
    ("Completions", completions.CompletionCreateParamsBase, CompletionRequest),
    ("Responses", responses.ResponseCreateParamsBase, ResponsesRequest),
]


def documented(section: str) -> set[str]:
    """Parameters named in a section, a dot leads into one."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    if section == "Completions":  # shares the sampling parameters of chat
        text += PAGE.partition("\n## Chat\n")[2].partition("\n## ")[0]
    return {name for code in re.findall(r"`([a-z_.]+)", text) for name in code.split(".")}


@pytest.mark.parametrize(("section", "theirs", "ours"), THEIRS, ids=lambda value: str(value)[:12])
def test_every_parameter_has_a_row(section: str, theirs: Any, ours: type[BaseModel]) -> None:
    """Supported, ignored or refused, but never a surprise."""
    names = set(theirs.__annotations__)
    assert names - documented(section) == set()
    assert names - set(ours.model_fields) == set()


@pytest.mark.parametrize(("section", "theirs", "ours"), THEIRS, ids=lambda value: str(value)[:12])
def test_every_extension_has_a_row(section: str, theirs: Any, ours: type[BaseModel]) -> None:
    """What we take beyond OpenAI's parameters is told too."""
    del theirs
    assert set(ours.model_fields) - documented(section) == set()
