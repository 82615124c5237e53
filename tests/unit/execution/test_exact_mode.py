"""`[engine] exact`: every sequence alone, with the tokens that batches give as well."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from daemon.execution.pool import CachePool
from daemon.messages import OpenSequence, Row, SamplingParams, Step
from daemon.shard import LoadedShard
from tests.support import staged
from tests.support.told import LoadingOnly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

IDS = (1, 2, 3)
STEPS = 6


def _answers(shard: LoadedShard) -> list[tuple[int, ...]]:
    """Tokens of three sequences, one per step and sequence, all in the same steps."""
    prompts = {i: tuple(staged.random_prompt(3 + i, 512, seed=i)) for i in IDS}
    opened = tuple(OpenSequence(i, SamplingParams(), len(prompts[i])) for i in IDS)
    rows = tuple(Row(i, prompts[i], sample=True) for i in IDS)
    steps: list[tuple[int, ...]] = []
    for number in range(STEPS):
        out = shard.run(Step(1, number, () if number else opened, (), rows), None)
        steps.append(tuple(token.token for token in out))
        rows = tuple(Row(token.sequence_id, (token.token,), sample=True) for token in out)
    return steps


def test_sequences_run_alone_and_say_the_same(
    model_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No batch is ever made, and no token differs."""
    batches: list[bool] = []
    together: Any = CachePool.fits_together
    monkeypatch.setattr(
        CachePool, "fits_together", lambda *a: batches.append(together(*a)) or batches[-1]
    )
    answers: dict[bool, list[tuple[int, ...]]] = {}
    with caplog.at_level(logging.INFO, "daemon.shard"):
        for exact in (False, True):
            shard = LoadedShard(model_folder("8bit"), LoadingOnly(), exact=exact)
            shard.assign(0, 8)
            answers[exact] = _answers(shard)
            assert any(batches) is not exact
            assert vars(caplog.records[-1])["fields"]["batching"] is not exact
            batches.clear()
    assert answers[True] == answers[False]
