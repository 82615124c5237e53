"""Steps on a stage: sequences open, close and fail without touching each other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import pytest

from daemon.errors import StepFailed
from daemon.messages import OpenSequence, Row, SamplingParams, Step
from tests.support import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon.execution.executor import StageExecutor

PROMPTS = [staged.random_prompt(length, 512, seed=length) for length in (3, 21, 40)]


@pytest.fixture
def ranks(model_folder: Callable[[str], Path]) -> list[StageExecutor]:
    """The dense model on two stages."""
    return staged.load_executors(model_folder("dense"), [(0, 3), (3, 8)])


def _open(sequence_id: int, prompt: list[int]) -> OpenSequence:
    return OpenSequence(sequence_id, SamplingParams(), len(prompt))


def _decode_all(ranks: list[StageExecutor], count: int) -> dict[int, list[int]]:
    """Greedy answers of all prompts at once, every prompt in one step."""
    opened = tuple(_open(i, prompt) for i, prompt in enumerate(PROMPTS))
    rows = tuple(Row(i, tuple(prompt), sample=True) for i, prompt in enumerate(PROMPTS))
    outs = staged.run_step(ranks, Step(1, 0, opened=opened, rows=rows))
    answers = {out.sequence_id: [out.token] for out in outs}
    for number in range(1, count):
        rows = tuple(Row(i, (answers[i][-1],), sample=True) for i in answers)
        for out in staged.run_step(ranks, Step(1, number, rows=rows)):
            answers[out.sequence_id].append(out.token)
    return answers


def test_sequences_run_together_as_they_run_alone(ranks: list[StageExecutor]) -> None:
    """What else is in a step changes nothing."""
    together = _decode_all(ranks, 12)
    for number, prompt in enumerate(PROMPTS):
        alone = staged.generate(ranks, prompt, 12, sequence_id=100 + number)
        assert together[number] == [out.token for out in alone]


def test_a_row_of_an_unknown_sequence_costs_only_its_step(ranks: list[StageExecutor]) -> None:
    """Other sequences go on as if nothing had been."""
    expected = [out.token for out in staged.generate(ranks, PROMPTS[1], 6)]
    opened = (_open(5, PROMPTS[1]),)
    rows = (Row(5, tuple(PROMPTS[1]), sample=True),)
    answer = [out.token for out in staged.run_step(ranks, Step(1, 1, opened=opened, rows=rows))]
    with pytest.raises(StepFailed, match="sequence 77 is not open"):
        staged.run_step(ranks, Step(1, 2, rows=(Row(77, (1,), sample=True),)))
    while len(answer) < 6:
        rows = (Row(5, (answer[-1],), sample=True),)
        answer += [out.token for out in staged.run_step(ranks, Step(1, 3, rows=rows))]
    assert answer == expected


def test_a_failed_step_drops_its_sequences(ranks: list[StageExecutor]) -> None:
    """Their caches may be half filled, so nobody may go on with them."""
    staged.run_step(ranks, Step(1, 1, opened=(_open(1, PROMPTS[0]), _open(2, PROMPTS[0]))))
    assert ranks[1].sequences == 2
    wrong = mx.zeros((1, 1, 7))
    with pytest.raises(StepFailed, match="step 2: "):
        ranks[1].run(Step(1, 2, rows=(Row(1, (4,), sample=True),)), [wrong])
    assert ranks[1].sequences == 1


def test_missing_boundary_values_are_refused(ranks: list[StageExecutor]) -> None:
    """Ranks that disagree about the passes of a step must not compute nonsense."""
    staged.run_step(ranks, Step(1, 1, opened=(_open(1, PROMPTS[0]),)))
    with pytest.raises(StepFailed, match="0 boundary values for 1 passes"):
        ranks[1].run(Step(1, 2, rows=(Row(1, (4,), sample=True),)), None)


def test_closing_and_reset_free_the_caches(ranks: list[StageExecutor]) -> None:
    """Closing what is not open is fine: after a failure ranks may know different ones."""
    opened = tuple(_open(i, prompt) for i, prompt in enumerate(PROMPTS))
    rows = tuple(Row(i, tuple(prompt), sample=False) for i, prompt in enumerate(PROMPTS))
    staged.run_step(ranks, Step(1, 1, opened=opened, rows=rows))
    full = ranks[0].kv_bytes
    assert full > 0
    staged.run_step(ranks, Step(1, 2, closed=(0, 99)))
    assert 0 < ranks[0].kv_bytes < full
    ranks[0].reset()
    assert (ranks[0].kv_bytes, ranks[0].sequences) == (0, 0)


def test_prefill_without_sampling_gives_no_tokens(ranks: list[StageExecutor]) -> None:
    """The last rank answers with an empty tuple then."""
    row = Row(1, tuple(PROMPTS[2]), sample=False)
    assert staged.run_step(ranks, Step(1, 1, opened=(_open(1, PROMPTS[2]),), rows=(row,))) == ()


def test_everything_works_on_an_engine_thread(model_folder: Callable[[str], Path]) -> None:
    """MLX streams are per thread: one that loads and runs all must be enough."""
    folder = model_folder("8bit")
    sampling = SamplingParams(temperature=0.8, top_p=0.9, top_k=40, seed=5)
    answers: list[Any] = []

    def work() -> None:
        ranks = staged.load_executors(folder, [(0, 4), (4, 8)])
        answers.append(staged.generate(ranks, PROMPTS[1], 8, sampling))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    ranks = staged.load_executors(folder, [(0, 8)])
    assert answers == [staged.generate(ranks, PROMPTS[1], 8, sampling)]
