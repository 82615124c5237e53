"""One choice of a request: token batches in, updates of an answer out.

Owns the counts, the finish reason and which tokens' logprobs go with which text. Pure: no I/O.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from daemon.text.answer import Delta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.api.engine import TokenBatch
    from daemon.messages import TokenOut
    from daemon.text.answer import AnswerReader


class ShownToken(NamedTuple):
    """A token of the content, and where in the content its text begins."""

    start: int
    token: TokenOut


@dataclass(slots=True)
class Update:
    """What came to a choice; the last update of a choice has a finish reason."""

    index: int
    delta: Delta
    tokens: tuple[ShownToken, ...] = ()
    """Tokens of the delta's content, for logprobs (only if they were asked for)."""
    finish_reason: str = ""
    prompt: tuple[TokenOut, ...] | None = None
    """The prompt's tokens but the first, once, if their logprobs were asked for."""


class Choice:
    """Reads one sequence. After `finished`, no more tokens are wanted."""

    def __init__(
        self,
        index: int,
        reader: AnswerReader,
        *,
        keep_tokens: bool,
        scored: bool = False,
        prompt_only: bool = False,
    ) -> None:
        """``scored``: tell of the prompt's tokens first; ``prompt_only``: and of nothing else."""
        self.index = index
        self.reader = reader
        self.completion_tokens = 0
        self.cached_tokens = 0
        self.finished = False
        self._keep_tokens = keep_tokens
        self._scored = scored
        self._prompt_only = prompt_only
        self._pending: deque[tuple[int, ShownToken]] = deque()
        """Content tokens whose text is not out yet, each behind the place where its text ends."""

    def read(self, batch: TokenBatch) -> Iterator[Update]:
        """Updates that the batch brings; the engine's batches after the end are ignored."""
        self.cached_tokens = max(self.cached_tokens, batch.cached_tokens)
        if self._scored:
            self._scored = False
            yield Update(self.index, Delta(), prompt=batch.prompt)
        if self._prompt_only:
            yield self._last(Delta(), "length")
            return
        for token in batch.tokens:
            self.completion_tokens += 1
            start = self.reader.content_seen
            delta = self.reader.feed(token.token)
            if self._keep_tokens and self.reader.token_is_content:
                self._pending.append((self.reader.content_seen, ShownToken(start, token)))
            if self.reader.stopped:
                yield self._last(delta, "stop")
                return
            if delta:
                yield Update(self.index, delta, self._released() if self._keep_tokens else ())
        if batch.finish_reason:
            yield self._last(self.reader.finish(), batch.finish_reason)

    def _last(self, delta: Delta, reason: str) -> Update:
        self.finished = True
        if self.reader.called and reason == "stop":
            reason = "tool_calls"
        given = self.reader.content_given
        # A stop string may end within a token: that token counts as shown.
        cut = self.reader.stopped
        shown = [shown for _, shown in self._pending if shown.start < given or not cut]
        self._pending.clear()
        return Update(self.index, delta, tuple(shown), reason)

    def _released(self) -> tuple[ShownToken, ...]:
        released: list[ShownToken] = []
        while self._pending and self._pending[0][0] <= self.reader.content_given:
            released.append(self._pending.popleft()[1])
        return tuple(released)
