"""Sequences decoded together: same bits as alone, whoever joins, leaves or waits."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

import mlx.core as mx
import pytest

from daemon.execution import selfcheck
from daemon.execution.batch_check import check_together
from daemon.execution.executor import StageExecutor
from daemon.execution.loading import load_stage
from daemon.execution.pool import CachePool
from daemon.execution.together import EXACT_TOGETHER
from daemon.execution.trace import trace
from daemon.messages import OpenSequence, Row, SamplingParams, Step
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

N_SEQUENCES = 16
COUNT = 10
PROMPTS = [staged.random_prompt(1 + 5 * number, 512, seed=number) for number in range(N_SEQUENCES)]


def _run_shuffled(
    executors: Sequence[StageExecutor], sampling: SamplingParams, seed: int
) -> dict[int, list[int]]:
    """Answers of all prompts while a random part of the sequences takes part in each step."""
    rng = random.Random(seed)
    answers: dict[int, list[int]] = {}
    waiting = list(range(N_SEQUENCES))
    closed: list[int] = []
    for number in range(1000):
        running = [i for i in answers if len(answers[i]) < COUNT]
        if not running and not waiting:
            staged.run_step(executors, Step(1, number, closed=tuple(closed)))
            return answers
        chosen = rng.sample(running, rng.randint(0, len(running)))
        rows = [Row(i, (answers[i][-1],), sample=True) for i in chosen]
        opened: list[OpenSequence] = []
        if waiting and rng.random() < 0.5:
            new = waiting.pop(0)
            opened.append(OpenSequence(new, sampling, len(PROMPTS[new])))
            rows.insert(rng.randint(0, len(rows)), Row(new, tuple(PROMPTS[new]), sample=True))
        step = Step(1, number, tuple(opened), tuple(closed), tuple(rows))
        closed = []
        outs = staged.run_step(executors, step)
        assert [out.sequence_id for out in outs] == [row.sequence_id for row in rows]
        for out in outs:
            answers.setdefault(out.sequence_id, []).append(out.token)
            if len(answers[out.sequence_id]) == COUNT:
                closed.append(out.sequence_id)
    raise AssertionError("the schedule does not end")


@pytest.mark.parametrize(
    ("variant", "cuts"),
    [
        ("dense", (0, 8)),
        ("dense", (0, 4, 8)),
        ("moe", (0, 4, 8)),
        ("sliding", (0, 4, 8)),
        ("hybrid", (0, 4, 8)),
        ("hybrid", (0, 2, 8)),
        ("hybrid", (0, 6, 8)),
        ("8bit", (0, 2, 4, 6, 8)),
    ],
)
def test_16_sequences_together_equal_solo_runs(
    variant: str, cuts: tuple[int, ...], model_folder: Callable[[str], Path]
) -> None:
    """Where one rank of a hybrid can batch and the other can't, they understand each other."""
    folder = model_folder(variant)
    sampling = SamplingParams(temperature=0.8, top_p=0.95, seed=4)
    executors = staged.load_executors(folder, list(pairwise(cuts)))
    assert any(executor.batching for executor in executors)
    answers = _run_shuffled(executors, sampling, seed=len(cuts))
    for number in (0, 3, 7, 15):
        expected = staged.reference(folder, PROMPTS[number], COUNT, seed=4, temp=0.8, top_p=0.95)
        assert answers[number] == expected
    assert [executor.sequences for executor in executors] == [0] * len(executors)


def test_a_batch_survives_members_that_leave_wait_and_return(
    model_folder: Callable[[str], Path],
) -> None:
    """Membership follows the rows; who waits keeps its own caches."""
    stage = load_stage(model_folder("dense"), 0, 8)
    pool = CachePool(stage)
    for sequence_id in (1, 2, 3):
        pool.open(sequence_id)
        stage.forward(mx.array([[5] * (sequence_id + 2)]), None, pool.alone(sequence_id))
    batch = pool.together((1, 2, 3))
    assert (batch.members, batch.lengths) == ([1, 2, 3], [3, 4, 5])
    assert pool.together((1, 2, 3)) is batch, "nothing is copied while the members stay"
    pool.close(2)
    assert pool.together((3, 1)).members == [3, 1]
    assert pool.alone(1).length == 3
    assert 3 in pool
    assert 2 not in pool
    assert pool.together((1, 3)).lengths == [3, 5]
    assert len(pool) == 2


def test_rotating_caches_leave_the_batch_at_their_window(
    model_folder: Callable[[str], Path],
) -> None:
    """From there on merging would reorder sums."""
    stage = load_stage(model_folder("sliding"), 0, 8)
    pool = CachePool(stage)
    for sequence_id, length in ((1, 15), (2, 16)):
        pool.open(sequence_id)
        stage.forward(mx.array([[5] * length]), None, pool.alone(sequence_id))
    pool.open(3)
    assert pool.batching
    assert pool.fits_together((1, 2)) is False
    assert pool.fits_together((1, 3)) is False, "an empty cache can't be merged"
    assert pool.fits_together((1,)) is False, "one is no batch"


def test_architectures_that_are_not_proven_run_alone(model_folder: Callable[[str], Path]) -> None:
    """A newer mlx-lm must not lose exactness for speed."""
    assert "no_such_architecture" not in EXACT_TOGETHER
    stage = load_stage(model_folder("dense"), 0, 8)
    assert StageExecutor(stage).batching
    assert not StageExecutor(stage, batching=False).batching


@pytest.mark.parametrize(
    ("name", "expected"), [("qwen3", "exact"), ("gemma2", "wrong"), ("llama4", "alone")]
)
def test_the_check_tells_exact_from_wrong(name: str, expected: str) -> None:
    """The list of exact architectures is what this check finds."""
    make = selfcheck.tiny_model(name)
    assert check_together(make, trace(make())) == expected
