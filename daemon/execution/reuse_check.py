"""Compares sequences that go on from cached prefixes with cold ones, bit for bit.

Knows no network. Engine thread (the caller's).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from daemon.execution.executor import StageExecutor
from daemon.execution.kv_shape import read_kv
from daemon.execution.stage import Stage
from daemon.messages import KeptBlock, OpenSequence, Row, SamplingParams, Step, TokenOut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daemon.execution.skeleton import Skeleton
    from daemon.execution.trace import LayerTrace

CUT = 8
"""Tokens per block: two blocks fill a tiny window."""
OTHER_CUT = 5
PROMPT_TOKENS = 44
ANSWER_TOKENS = 21
SAMPLING = SamplingParams(logprobs=True, top_logprobs=5)


def check_reuse(make: Callable[[], Skeleton], traced: LayerTrace) -> str:
    """How reused prefixes compare with cold runs.

    Returns:
        `none` (its caches can't be stored), `exact` (the same bits where prompts are cut at the
        same places), `free` (the same bits also with other cuts, and after decoded tokens), or
        `wrong`.
    """
    shape = read_kv(make(), traced)
    if not shape.storable:
        return "none"
    middle = len(traced.legal_cuts) // 2
    edges = [0, *traced.legal_cuts[middle : middle + 1], traced.n_layers]
    stages = [Stage(make(), lo, hi, traced) for lo, hi in pairwise(edges)]
    bench = _Bench([StageExecutor(stage, batching=False) for stage in stages])
    prompt = _random(PROMPT_TOKENS)
    cold = bench.run(prompt, keep=True)
    reused = [bench.run(prompt, blocks=blocks) for blocks in (5, 1, 3)]
    if any(other != cold for other in reused):
        return "wrong"
    if not shape.cuttable:
        return "exact"
    return "free" if _is_free(bench, prompt, cold) else "exact"


def _is_free(bench: _Bench, prompt: list[int], cold: list[TokenOut]) -> bool:
    if bench.run(prompt, cut=OTHER_CUT) != cold:
        return False
    answered = [*prompt, *(out.token for out in cold)]
    next_turn = [*answered, *_random(9)]
    expected = bench.run(next_turn)
    kept = bench.keep_answer(prompt)
    return bench.run(next_turn, blocks=kept) == expected


class _Bench:
    """Stages, and one sequence on them at a time."""

    def __init__(self, executors: Sequence[StageExecutor]) -> None:
        self._executors = executors
        self._steps = 0
        self._sequences = 0

    def run(
        self, tokens: list[int], *, cut: int = CUT, keep: bool = False, blocks: int = 0
    ) -> list[TokenOut]:
        """The answer to a prompt, from its first ``blocks`` blocks on."""
        answer = self._answer(tokens, cut=cut, keep=keep, blocks=blocks)
        self._step(closed=(self._sequences,))
        return answer

    def keep_answer(self, prompt: list[int]) -> int:
        """Run a prompt and make blocks of it and of its answer; how many."""
        self._answer(prompt)
        count = (len(prompt) + ANSWER_TOKENS - 1) // CUT
        kept = tuple(
            KeptBlock(100 + at, self._sequences, at * CUT, (at + 1) * CUT) for at in range(count)
        )
        self._step(kept=kept, closed=(self._sequences,), dropped=tuple(range(1, 100)))
        self._first_block = 100
        return count

    _first_block = 1

    def _answer(
        self, tokens: list[int], *, cut: int = CUT, keep: bool = False, blocks: int = 0
    ) -> list[TokenOut]:
        self._sequences += 1
        sequence = self._sequences
        ids = tuple(range(self._first_block, self._first_block + blocks))
        opened = (OpenSequence(sequence, SAMPLING, len(tokens), blocks=ids),)
        for at in range(blocks * CUT, len(tokens) - 1, cut):
            part = tuple(tokens[at : min(at + cut, len(tokens) - 1)])
            block = 1 + at // CUT if keep and len(part) == CUT else 0
            row = Row(sequence, part, sample=False, keep=block, snapshot=bool(block))
            self._step(opened=opened, rows=(row,))
            opened = ()
        answer: list[TokenOut] = []
        last = tokens[-1]
        while len(answer) < ANSWER_TOKENS:
            (out,) = self._step(opened=opened, rows=(Row(sequence, (last,), sample=True),))
            opened = ()
            last = out.token
            answer.append(replace(out, sequence_id=0))
        return answer

    def _step(self, **parts: Any) -> tuple[TokenOut, ...]:
        self._steps += 1
        value: Any = None
        for executor in self._executors:
            value = executor.run(Step(1, self._steps, **parts), value)
        return value


def _random(count: int) -> list[int]:
    return np.array(mx.random.randint(1, 200, (count,), key=mx.random.key(count))).tolist()
