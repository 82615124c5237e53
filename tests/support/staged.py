"""Drives stages of one model in one process, and mlx-lm on the whole model, for comparison."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.sample_utils import make_sampler
from mlx_lm.utils import load_model

from daemon.execution.executor import StageExecutor
from daemon.execution.loading import load_stage
from daemon.messages import OpenSequence, Row, SamplingParams, Step, TokenOut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

EPOCH = 1


def load_executors(folder: Path, ranges: Sequence[tuple[int, int]]) -> list[StageExecutor]:
    """One executor per range."""
    return [StageExecutor(load_stage(folder, lo, hi)) for lo, hi in ranges]


def even_ranges(n_layers: int, world: int) -> list[tuple[int, int]]:
    """Ranges of nearly the same number of layers."""
    edges = [n_layers * rank // world for rank in range(world + 1)]
    return list(pairwise(edges))


def run_step(executors: Sequence[StageExecutor], step: Step) -> tuple[TokenOut, ...]:
    """Send a step through all stages, in order."""
    value: Any = None
    for executor in executors:
        value = executor.run(step, value)
    return value


def generate(
    executors: Sequence[StageExecutor],
    prompt: Sequence[int],
    count: int,
    sampling: SamplingParams | None = None,
    *,
    chunk: int = 16,
    sequence_id: int = 1,
    before: Sequence[int] = (),
) -> list[TokenOut]:
    """``count`` tokens for one prompt; ``before`` are tokens of it generated before a loss."""
    opened = OpenSequence(sequence_id, sampling or SamplingParams(), len(prompt), len(before))
    known = [*prompt, *before]
    parts = [tuple(known[at : at + chunk]) for at in range(0, len(known), chunk)]
    answer: list[TokenOut] = []
    for number, part in enumerate(parts):
        row = Row(sequence_id, part, sample=part is parts[-1])
        first = (opened,) if number == 0 else ()
        answer += run_step(executors, Step(EPOCH, number, opened=first, rows=(row,)))
    while len(answer) < count:
        row = Row(sequence_id, (answer[-1].token,), sample=True)
        answer += run_step(executors, Step(EPOCH, len(parts) + len(answer), rows=(row,)))
    run_step(executors, Step(EPOCH, 0, closed=(sequence_id,)))
    return answer


def reference(
    folder: Path,
    prompt: Sequence[int],
    count: int,
    *,
    seed: int = 0,
    processors: list[Any] | None = None,
    prepare: Callable[[Any], object] = lambda _model: None,
    **sampler: Any,
) -> list[int]:
    """The tokens that mlx-lm generates with the whole model, after ``prepare`` had it."""
    model, _ = load_model(folder)
    prepare(model)
    mx.random.seed(seed)
    steps = generate_step(
        mx.array(list(prompt)),
        model,
        max_tokens=count,
        sampler=make_sampler(**sampler),
        logits_processors=processors,
    )
    return [int(token) for token, _ in steps]


def random_prompt(length: int, vocab: int, seed: int = 9) -> list[int]:
    """Token ids."""
    return mx.random.randint(0, vocab, (length,), key=mx.random.key(seed)).tolist()  # pyright: ignore[reportReturnType] - a list of int for one dimension
