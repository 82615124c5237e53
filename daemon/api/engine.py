"""What the API needs of an engine: token ids in, token ids out.

Owns the interface that `daemon.client.engine` implements and that tests fake. Knows no text and
no network. All of it runs on the API's event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.errors import ClusterError
    from daemon.messages import SamplingParams, TokenOut


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model as the cluster has loaded it, and whether it can answer now."""

    name: str
    fingerprint: str
    """Hash of config and weights' headers."""
    layers: int
    vocab_size: int
    max_context: int
    """Tokens of prompt and answer together."""
    world_size: int
    epoch: int
    ready: bool
    waiting_for: str = ""
    """Why it is not ready, in words."""
    running: int = 0
    """Sequences that take part in steps."""
    queued: int = 0
    """Requests that wait for a place."""


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """One sequence to generate."""

    request_id: str
    """Of the HTTP request, for the logs; the choices of one request share it."""
    prompt_ids: tuple[int, ...]
    max_tokens: int
    stop_ids: tuple[int, ...]
    """Each ends the sequence and is not given out."""
    sampling: SamplingParams
    client: str = ""
    """Who asked, for the console's table of requests."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Tokens in order, as they come; the last batch of a sequence has a finish reason."""

    tokens: tuple[TokenOut, ...]
    finish_reason: str = ""
    """Empty until the last batch: `stop` or `length`."""
    cached_tokens: int = 0
    """Tokens of the prompt found in the prefix cache; on the first batch."""
    prompt: tuple[TokenOut, ...] = ()
    """The prompt's tokens but the first, if their logprobs were asked for; on the first batch."""


class Engine(Protocol):
    """Errors are subclasses of `daemon.errors.ClusterError`."""

    async def describe(self) -> ModelInfo:
        """The model as loaded; raises `NotReady` until the plan is made."""
        ...

    def submit(
        self, call: GenerateCall, deliver: Callable[[TokenBatch | ClusterError], None]
    ) -> Callable[[], None]:
        """Begin one sequence; what is returned frees it at the next step, if it has not ended.

        ``deliver`` gets its batches as they come, never within this call; the last one has a
        finish reason or is an error. It must not raise.
        """
        ...

    async def probe(self) -> float:
        """Seconds that one tiny step through all ranks took."""
        ...
