"""Chooses the next token of one sequence as mlx-lm does, with keys of its own chain.

The seed and the prompt alone decide: not what else runs, the number of ranks, or a recovery.
Engine thread.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
import numpy as np

from daemon.execution.grammar import GrammarFailed, GrammarNotReady
from daemon.execution.light_import import mlx_lm
from daemon.execution.prompt_scores import PromptScorer
from daemon.messages import TokenOut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.execution.grammar import Constraint
    from daemon.messages import OpenSequence, SamplingParams

WHOLE_HISTORY = 1 << 30
"""Context size for mlx-lm's penalties: all tokens count."""
LAZY_KEYS = 64
"""Links of the chain of keys between evaluations, when a recovered sequence catches up."""


class Picked(NamedTuple):
    """A token chosen lazily. All sequences' picks are best evaluated at once, then read."""

    token: mx.array
    """(1,)"""
    logits: mx.array | None
    """(1, vocabulary), if logprobs are wanted."""
    key: mx.array
    """The chain of keys: evaluated with the rest, or it would grow by a lazy link per token."""
    error: str = ""
    """Why there is no token."""
    later: bool = False
    """There is no token yet."""


class Sampler:
    """The sampling state of one sequence on the last rank."""

    def __init__(self, opened: OpenSequence, constraint: Constraint | None = None) -> None:
        """``constraint``: of the sequence's grammar, if it has one."""
        self._id = opened.sequence_id
        self._prompt_length = opened.prompt_length
        self._params = params = opened.sampling
        self._uses_keys = params.temperature > 0
        self._constraint = constraint
        self._filters = _filters(params)
        self._bias, self._prompt_penalties, self._answer_penalties = _penalties(params)
        # One that goes on after a loss has told of its prompt already.
        scored = params.prompt_logprobs and not opened.generated
        self._scorer = PromptScorer(params.top_logprobs) if scored else None
        self._key = mx.random.key(params.seed)
        if self._uses_keys:
            for count in range(opened.generated):
                self._next_key()
                if count % LAZY_KEYS == 0:
                    mx.eval(self._key)

    @property
    def reads_prompt(self) -> bool:
        """Whether `read_prompt` wants the logits of prompts."""
        return self._scorer is not None

    def read_prompt(self, tokens: Sequence[int], logits: mx.array) -> list[mx.array]:
        """Take a chunk of the prompt and its logits, (1, length, vocabulary); what to evaluate."""
        if self._scorer is None:
            return []
        self._scorer.read(tokens, logits[0])
        return self._scorer.arrays

    def pick(self, logits: mx.array, history: Sequence[int]) -> Picked:
        """Choose the token that follows ``history``, lazily; `finish` reads it.

        Args:
            logits: (1, vocabulary), after the last token of the history.
            history: ids of the prompt and of the answer so far.
        """
        if self._scorer is not None:
            self._scorer.close(history[-1])
        logits = self._penalised(logits, history)
        reported = logits if self._params.logprobs else None
        if self._constraint is not None:
            try:
                logits = self._constrained(self._constraint, logits, history)
            except GrammarNotReady:
                return Picked(mx.array([0]), None, self._key, later=True)
            except GrammarFailed as error:
                return Picked(mx.array([0]), None, self._key, str(error))
        logprobs = logits - mx.logsumexp(logits, keepdims=True)
        return Picked(self._drawn(logprobs), reported, self._key)

    def finish(self, picked: Picked) -> TokenOut:
        """What `pick` chose."""
        if picked.error or picked.later:
            return TokenOut(self._id, 0, error=picked.error, later=picked.later)
        token = int(np.array(picked.token)[0])
        if picked.logits is None:
            return TokenOut(self._id, token)
        out = self._with_logprobs(token, picked.logits)
        if self._scorer is not None:
            out = dataclasses.replace(out, prompt=self._scorer.result())
            self._scorer = None
        return out

    def _drawn(self, logprobs: mx.array) -> mx.array:
        if not self._uses_keys:
            return mx.argmax(logprobs, axis=-1)
        for keep in self._filters:
            logprobs = keep(logprobs)
        scaled = logprobs * (1.0 / self._params.temperature)
        return mx.random.categorical(scaled, key=self._next_key())

    def _next_key(self) -> mx.array:
        self._key, key = mx.random.split(self._key)
        return key

    def _penalised(self, logits: mx.array, history: Sequence[int]) -> mx.array:
        if self._bias:
            logits = self._bias(None, logits)
        if self._prompt_penalties:
            logits = self._prompt_penalties(mx.array(list(history)), logits)
        answer = history[self._prompt_length :]
        if answer:
            tokens = mx.array(list(answer))
            for penalise in self._answer_penalties:
                logits = penalise(tokens, logits)
        return logits

    def _constrained(
        self, constraint: Constraint, logits: mx.array, history: Sequence[int]
    ) -> mx.array:
        """After penalties and bias, so that nothing lets a forbidden token in again."""
        allowed = constraint.allowed(history[self._prompt_length :], logits.shape[-1])
        return mx.where(mx.array(allowed), logits, mx.array(-mx.inf, logits.dtype))

    def _with_logprobs(self, token: int, logits: mx.array) -> TokenOut:
        wide = logits[0].astype(mx.float32)
        logprobs = wide - mx.logsumexp(wide)
        count = min(self._params.top_logprobs, logprobs.size)
        top: tuple[tuple[int, float], ...] = ()
        if count:
            best = np.array(mx.argsort(-logprobs)[:count])
            pairs = zip(best.tolist(), np.array(logprobs)[best].tolist(), strict=True)
            top = tuple((int(index), float(value)) for index, value in pairs)
        return TokenOut(self._id, token, float(np.array(logprobs[token])), top)


def _filters(params: SamplingParams) -> list[Callable[[mx.array], mx.array]]:
    """In the order of mlx-lm's `make_sampler`; off where they would do nothing."""
    chosen: list[Callable[[mx.array], mx.array]] = []
    use = mlx_lm().sample_utils
    if 0 < params.top_p < 1:
        chosen.append(lambda logprobs: use.apply_top_p(logprobs, params.top_p))
    if params.min_p > 0:
        chosen.append(lambda logprobs: use.apply_min_p(logprobs, params.min_p))
    if params.top_k > 0:
        # mlx-lm refuses a k that keeps everything.
        chosen.append(
            lambda logprobs: (
                use.apply_top_k(logprobs, params.top_k)
                if params.top_k < logprobs.shape[-1]
                else logprobs
            )
        )
    return chosen


def _penalties(params: SamplingParams) -> tuple[Any, Any, list[Any]]:
    """mlx-lm's bias, its repetition penalty, and the penalties that count the answer only."""
    use = mlx_lm().sample_utils
    bias = use.make_logits_processors(dict(params.logit_bias))[0] if params.logit_bias else None
    repetition = (
        use.make_repetition_penalty(params.repetition_penalty, WHOLE_HISTORY)
        if params.repetition_penalty != 1.0
        else None
    )
    answer: list[Any] = []
    if params.presence_penalty:
        answer.append(use.make_presence_penalty(params.presence_penalty, WHOLE_HISTORY))
    if params.frequency_penalty:
        answer.append(use.make_frequency_penalty(params.frequency_penalty, WHOLE_HISTORY))
    return bias, repetition, answer
