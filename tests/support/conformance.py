"""Holds answers to the types of the official package: nothing missing, nothing of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTENSIONS = {"reasoning_content", "max_model_len", "store"}
"""Ours; `store` OpenAI's server sends too, though its types don't know it."""


def surprises(kind: Any, data: Any) -> list[str]:
    """Members that the type does not know; raises `ValidationError` for what does not fit it."""
    return [path for path in _extras(TypeAdapter(kind).validate_python(data), "") if path]


def _extras(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for name in value.model_extra or ():
            if name not in EXTENSIONS:
                yield f"{path}.{name}"
        for name in type(value).model_fields:
            yield from _extras(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _extras(item, f"{path}[{number}]")
