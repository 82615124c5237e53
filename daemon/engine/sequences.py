"""One request's sequence of tokens, as rank 0 keeps it. Pure data; owned by the engine thread.

The tokens are all that is kept, so that a sequence can be rebuilt on any set of ranks: whatever
a stage holds for it is a function of ``tokens[:fed]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.messages import OpenSequence, PromptScores, Row, SamplingParams, TokenOut

if TYPE_CHECKING:
    from daemon.engine.prefix_index import Claim


@dataclass(frozen=True, slots=True)
class Update:
    """News for the client of one request. ``finish_reason`` or ``error`` ends it."""

    request_id: str
    tokens: tuple[TokenOut, ...] = ()
    finish_reason: str = ""
    """`stop` (a stop token, which is not given out) or `length`."""
    error: Exception | None = None
    prompt: PromptScores | None = None
    """With the first token, if asked for."""
    cached_tokens: int = 0
    """Of the prompt, that need not be run; with the first token."""


Listener = Callable[[list[Update]], None]
"""Takes the updates of one client, once per step. Called on the engine thread: must not block."""


@dataclass(eq=False)
class Sequence:
    """A request from submission to its end."""

    request_id: str
    prompt: tuple[int, ...]
    max_tokens: int
    """In all, those generated before an earlier loss counted."""
    stop_ids: frozenset[int]
    sampling: SamplingParams
    listener: Listener
    generated: list[int] = field(default_factory=list[int])
    resumed: bool = False
    """The client has seen the cluster up: it waits for it rather than be refused."""
    arrival: int = 0
    """In the order of submission: who came last gives way first when memory is short."""
    sequence_id: int = 0
    group: int | None = None
    """Decode group, once the prompt has been run; members of a group share a step."""
    fed: int = 0
    """Tokens handed to the stages, whether their steps have come back or not."""
    opened: bool = False
    awaiting: bool = False
    """A row that samples is in flight: the next token is not known yet."""
    client: str = ""
    """Who asked, for people."""
    submitted_at_s: float = 0.0
    """When rank 0 took it; monotonic, as the next two."""
    first_token_at_s: float = 0.0
    """0 before the first token."""
    last_token_at_s: float = 0.0
    claim: Claim | None = None
    """What it finds and leaves in the prefix index, while it is open."""
    cached_tokens: int | None = None
    """Of the prompt, found in the prefix cache when it first ran; None before that."""

    @property
    def length(self) -> int:
        """Prompt and answer so far."""
        return len(self.prompt) + len(self.generated)

    @property
    def reuses_prefix(self) -> bool:
        """Whether tokens that the stages hold already need not be run for it."""
        return not self.sampling.prompt_logprobs

    @property
    def has_run(self) -> bool:
        """Whether it has had a place, now or before it gave way."""
        return self.cached_tokens is not None

    @property
    def remaining_prefill(self) -> int:
        """Tokens to run before the one that samples."""
        return max(0, self.length - 1 - self.fed)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and answer so far."""
        return (*self.prompt, *self.generated)

    def rewind(self) -> None:
        """Forget what the stages hold: they have lost it."""
        self.fed = 0
        self.opened = False
        self.awaiting = False
        self.group = None
        self.claim = None

    def open(self, claim: Claim | None, block_tokens: int) -> OpenSequence:
        """How the stages learn of it: with what they need not run."""
        self.opened = True
        self.claim = claim
        self.fed = claim.reused * block_tokens if claim else 0
        if self.cached_tokens is None:
            self.cached_tokens = min(self.fed, len(self.prompt))
        stop_ids = tuple(sorted(self.stop_ids)) if self.sampling.grammar else ()
        return OpenSequence(
            self.sequence_id,
            self.sampling,
            len(self.prompt),
            len(self.generated),
            stop_ids,
            claim.block_ids if claim else (),
        )

    def next_row(self, most: int) -> Row:
        """The next tokens to run, at most ``most``; advances ``fed``.

        The last token runs alone, as in mlx-lm's generate_step: it is the one that samples, and
        the same split of the prompt gives the same bits.
        """
        prefill = min(most, self.remaining_prefill)
        sample = prefill == 0
        start, self.fed = self.fed, self.fed + (1 if sample else prefill)
        self.awaiting = sample
        tokens = self.tokens[start : self.fed] if not sample else (self._token(start),)
        return Row(self.sequence_id, tokens, sample)

    def _token(self, at: int) -> int:
        asked = len(self.prompt)
        return self.prompt[at] if at < asked else self.generated[at - asked]

    def accept(self, token: int) -> str:
        """Take the sampled token; the finish reason, or nothing."""
        self.awaiting = False
        if token in self.stop_ids:
            return "stop"
        self.generated.append(token)
        return "length" if len(self.generated) >= self.max_tokens else ""
