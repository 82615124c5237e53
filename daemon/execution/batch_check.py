"""Compares sequences decoded together with the same sequences decoded alone, bit for bit.

Knows no network. Engine thread (the caller's).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from daemon.execution.executor import StageExecutor
from daemon.execution.stage import Stage
from daemon.messages import OpenSequence, Row, SamplingParams, Step, TokenOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.execution.skeleton import Skeleton
    from daemon.execution.trace import LayerTrace

PROMPT_LENGTHS = (3, 25, 9, 14)
"""Beyond and below the tiny windows; every sequence joins while the others decode."""
DECODE_STEPS = 6
SAMPLING = SamplingParams(logprobs=True, top_logprobs=5)


def check_together(make: Callable[[], Skeleton], traced: LayerTrace) -> str:
    """`exact`, `near` (same tokens, other low bits), `alone` (no merging), or `wrong`."""
    middle = len(traced.legal_cuts) // 2
    cuts = traced.legal_cuts[middle : middle + 1]
    edges = [0, *cuts, traced.n_layers]

    def stages() -> list[Stage]:
        return [Stage(make(), lo, hi, traced) for lo, hi in pairwise(edges)]

    alone = _tokens([StageExecutor(stage, batching=False) for stage in stages()])
    executors = [StageExecutor(stage, batching=True) for stage in stages()]
    if not any(executor.batching for executor in executors):
        return "alone"
    try:
        together = _tokens(executors)
    # mlx-lm merges caches of models that can't run a batch; they fail in many ways.
    except Exception:  # noqa: BLE001
        return "wrong"
    if together == alone:
        return "exact"
    return "near" if _choices(together) == _choices(alone) else "wrong"


def _tokens(executors: list[StageExecutor]) -> dict[int, list[TokenOut]]:
    """Greedy answers while sequences join, run together, and one leaves."""
    answers: dict[int, list[TokenOut]] = {}
    number = 0

    def step(*opened: tuple[int, list[int]], closed: tuple[int, ...] = ()) -> None:
        nonlocal number
        number += 1
        rows = [
            Row(sequence_id, (answer[-1].token,), sample=True)
            for sequence_id, answer in answers.items()
            if sequence_id not in closed
        ]
        rows += [Row(sequence_id, tuple(prompt), sample=True) for sequence_id, prompt in opened]
        opening = tuple(OpenSequence(i, SAMPLING, len(prompt)) for i, prompt in opened)
        value: Any = None
        for executor in executors:
            value = executor.run(Step(1, number, opening, closed, tuple(rows)), value)
        for out in value or ():
            answers.setdefault(out.sequence_id, []).append(out)

    for sequence_id, length in enumerate(PROMPT_LENGTHS):
        step((sequence_id, _prompt(length)))
        step()
    for _ in range(DECODE_STEPS):
        step()
    for _ in range(DECODE_STEPS):
        step(closed=(1,))
    return answers


def _prompt(length: int) -> list[int]:
    return np.array(mx.random.randint(1, 200, (length,), key=mx.random.key(length))).tolist()


def _choices(answers: dict[int, list[TokenOut]]) -> dict[int, list[int]]:
    return {sequence_id: [out.token for out in outs] for sequence_id, outs in answers.items()}
