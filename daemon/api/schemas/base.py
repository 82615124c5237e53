"""What the request bodies share: strictness, stop strings, stream options, sampling parameters.

Owns types and ranges of single parameters. What depends on two of them, or on the model, is
checked by the endpoints. None (explicit null) always means the default.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

SEED_LIMIT = 2**63

Fraction = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = Annotated[float, Field(ge=-100, le=100)]
NonEmpty = Annotated[str, Field(min_length=1)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Metadata = Annotated[
    dict[
        Annotated[str, Field(max_length=64)],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=16),
]
"""Of our caller's own, told back where OpenAI does."""
FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Strict(BaseModel):
    """JSON types as they are, nothing unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Lenient(BaseModel):
    """As `Strict`, but unknown keys are ignored: for parts that clients send back to us."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


def refusal(code: str, message: str) -> PydanticCustomError:
    """What a validator raises to answer 400 with OpenAI's ``code``."""
    return PydanticCustomError("openai", "{message}", {"message": message, "openai_code": code})


CHOICES = ("none", "auto", "required")


def word_as_choice(value: Any) -> Any:
    """A tool choice that is a word, as an object."""
    if not isinstance(value, str):
        return value
    if value not in CHOICES:
        supported = ", ".join(repr(choice) for choice in CHOICES)
        raise refusal(
            "invalid_value", f"Invalid value: {value!r}. Supported values are: {supported}."
        )
    return {"type": value}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


StopStrings = Annotated[
    list[NonEmpty],
    Field(max_length=4),
    BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
]


class StreamOptions(Strict):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Accepted; we add no padding."""


class SamplingFields(Strict):
    """How tokens are chosen, and how many answers: the same in chat and completions."""

    model: NonEmpty
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    """Extension; 0 and -1 are off."""
    min_p: Fraction | None = None
    """Extension."""
    seed: Annotated[int, Field(ge=-SEED_LIMIT, lt=SEED_LIMIT)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    """Extension; 1 is off."""
    logit_bias: dict[str, Bias] | None = None
    stop: StopStrings | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    ignore_eos: bool | None = None
    """Extension: go on to max_tokens, for measurements."""
