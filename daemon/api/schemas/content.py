"""What a message is made of, as far as chat and responses share it: text, or a refusal.

Owns the refusal of other media by name, in either endpoint's words.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from pydantic import BeforeValidator

from daemon.api.schemas.base import Lenient, refusal

_OTHER_MEDIA = {
    "audio_url",
    "file",
    "image",
    "image_url",
    "input_audio",
    "input_file",
    "input_image",
    "video_url",
}


class RefusalPart(Lenient):
    """A refusal in an earlier answer."""

    type: Literal["refusal"]
    refusal: str


def text_or_parts(text_kind: str, parts: type) -> BeforeValidator:
    """Text alone becomes one part of ``text_kind``; ``parts`` is the type of a list of them."""
    return BeforeValidator(partial(_as_parts, text_kind), json_schema_input_type=str | parts)


def _as_parts(text_kind: str, value: Any) -> Any:
    if isinstance(value, str):
        return [{"type": text_kind, "text": value}]
    if isinstance(value, list):
        for part in value:
            kind = part.get("type") if isinstance(part, dict) else None
            if isinstance(kind, str) and kind in _OTHER_MEDIA:
                raise refusal(
                    "unsupported_content",
                    f"Content of type '{kind}' is not supported: this is a text model.",
                )
    return value
