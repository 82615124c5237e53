"""How likely the model found each token of a prompt, collected chunk by chunk on the last rank.

Owns the seam between two chunks: the last position of one judges the first token of the next.
Engine thread; lazy until the caller evaluates `arrays`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from daemon.messages import PromptScores

if TYPE_CHECKING:
    from collections.abc import Sequence


class PromptScorer:
    """Scores of one prompt."""

    def __init__(self, top: int) -> None:
        """``top``: likeliest tokens to report at each position."""
        self._top = top
        self._pending: mx.array | None = None
        """(1, vocabulary): logits for a token that has not come yet."""
        self._parts: list[tuple[mx.array, mx.array, mx.array]] = []
        """Per chunk: (n,), (n, top) ids, (n, top) log probabilities."""

    def read(self, tokens: Sequence[int], logits: mx.array) -> None:
        """Take a chunk and what the model said at each of its positions, (length, vocabulary)."""
        self._judge(tokens if self._pending is not None else tokens[1:], logits[:-1])
        self._pending = logits[-1:]

    def close(self, token: int) -> None:
        """Take the last token of the prompt; nothing is judged after it."""
        self._judge((token,) if self._pending is not None else (), None)
        self._pending = None

    @property
    def arrays(self) -> list[mx.array]:
        """All that is still lazy, perhaps."""
        pending = [] if self._pending is None else [self._pending]
        return [*pending, *(array for part in self._parts[-1:] for array in part)]

    def result(self) -> PromptScores:
        """Of every token but the first."""
        chosen = [np.array(part[0]) for part in self._parts]
        tokens = [np.array(part[1]) for part in self._parts]
        values = [np.array(part[2]) for part in self._parts]
        return PromptScores(
            np.concatenate([np.zeros(0, np.float32), *chosen]),
            np.concatenate([np.zeros((0, self._top), np.int32), *tokens]),
            np.concatenate([np.zeros((0, self._top), np.float32), *values]),
        )

    def _judge(self, targets: Sequence[int], logits: mx.array | None) -> None:
        """``logits``: behind the pending ones, so that there is one row per target."""
        if not targets:
            return
        rows = [part for part in (self._pending, logits) if part is not None]
        wide = mx.concatenate(rows).astype(mx.float32)
        logprobs = wide - mx.logsumexp(wide, axis=-1, keepdims=True)
        chosen = mx.take_along_axis(logprobs, mx.array([[t] for t in targets]), axis=-1)[:, 0]
        top = min(self._top, logprobs.shape[-1])
        best = mx.argsort(-logprobs, axis=-1)[:, :top].astype(mx.int32)
        self._parts.append((chosen, best, mx.take_along_axis(logprobs, best, axis=-1)))
