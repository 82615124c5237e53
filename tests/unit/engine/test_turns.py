"""Streams beside a long prompt keep half of their rate: simulated stages, exact times."""

from __future__ import annotations

import pytest

from daemon.engine.scheduler import Scheduler, SchedulerLimits
from daemon.engine.sequences import Sequence
from daemon.engine.turns import Turns
from daemon.messages import SamplingParams, Step, StepResult, TokenOut

CUT, STREAMS = 64, 8
DECODE_S = 0.007


class Stages:
    """A pipeline whose steps take the time that is said, in the order in which they come."""

    def __init__(self, count: int, prompt_s: float) -> None:
        self._prompt_s = prompt_s
        limits = SchedulerLimits(count, 2 * STREAMS, STREAMS, 4 * CUT, CUT)
        self.scheduler = Scheduler(limits)
        self._free_s = [0.0] * count
        self._returns: list[tuple[float, Step]] = []
        self.tokens = 0
        """Of streams."""

    @property
    def now_s(self) -> float:
        """When the first stage has nothing left to do."""
        return self._free_s[0]

    def add(self, name: str, length: int, most: int) -> Sequence:
        """A request."""
        end = frozenset({999})
        asked = Sequence(name, (1,) * length, most, end, SamplingParams(), lambda _: None)
        self.scheduler.submit(asked)
        return asked

    def turn(self) -> None:
        """What has come back by now, then a step; or wait for the next that comes back."""
        while self._returns and self._returns[0][0] <= self.now_s:
            self._take(self._returns.pop(0)[1])
        step = self.scheduler.schedule(1)
        if step is None:
            self._free_s[0] = self._returns[0][0]
            return
        is_prompt = any(len(row.tokens) > 1 for row in step.rows)
        tokens = sum(len(row.tokens) for row in step.rows)
        seconds = self._prompt_s * tokens / CUT if is_prompt else DECODE_S
        ready_s = self.now_s
        for stage, free_s in enumerate(self._free_s):
            ready_s = self._free_s[stage] = max(ready_s, free_s) + seconds
        self.scheduler.took(step, seconds)
        self._returns.append((ready_s, step))

    def _take(self, step: Step) -> None:
        sampled = [row.sequence_id for row in step.rows if row.sample]
        self.tokens += len(sampled)
        tokens = tuple(TokenOut(number, 7) for number in sampled)
        self.scheduler.commit(StepResult(step.epoch, step.number, tokens))


@pytest.mark.parametrize("stages", [1, 2, 4, 8])
@pytest.mark.parametrize("prompt_s", [0.003, 0.02, 0.043, 0.2])
def test_streams_keep_half_of_their_rate(stages: int, prompt_s: float) -> None:
    """However long a portion takes; and the prompt gets on, too."""
    it = Stages(stages, prompt_s)
    for number in range(STREAMS):
        it.add(str(number), 1, 100_000)
    while it.tokens < 1_000:
        it.turn()
    began_s, before = it.now_s, it.tokens
    while it.tokens < before + 1_000:
        it.turn()
    calm = 1_000 / (it.now_s - began_s)

    length = 1_000 * stages  # several bursts: the last one is not paid for any more
    long = it.add("long", length, 1)
    began_s, before = it.now_s, it.tokens
    while not long.generated:
        it.turn()
    took_s = it.now_s - began_s
    assert (it.tokens - before) / took_s >= 0.5 * calm
    alone_s = prompt_s * (length / CUT + stages - 1)
    assert took_s < 2.6 * AT_BEST[stages] * alone_s + 0.5


AT_BEST = {1: 1.0, 2: 1.5, 4: 1.75, 8: 1.875}
"""A prompt alone keeps all stages busy; among streams they fill and empty for every burst."""


def test_a_burst_has_a_portion_for_every_stage() -> None:
    """Two cost streams hardly more than one; then the streams have their time back first."""
    turns = Turns(stages=2)
    assert turns.prompts_are_next()
    for _ in range(2):
        assert turns.prompts_are_next()
        turns.chose(prompts=True)
        turns.prompt_took(64, 0.04, among_streams=True)
    assert not turns.prompts_are_next()
    assert not turns.prompts_may_run()
    spent_s = 0.0
    while not turns.prompts_are_next():
        turns.chose(prompts=False)
        turns.decode_took(0.01)
        spent_s += 0.01
    assert 3 * 0.04 <= spent_s <= 4 * 0.04


@pytest.mark.parametrize("stages", [1, 2, 8])
def test_a_prompt_of_one_portion_gives_back_what_it_costs(stages: int) -> None:
    """Streams wait for it at every stage, though nothing follows it."""
    turns = Turns(stages)
    turns.chose(prompts=True)
    turns.prompt_took(20, 0.04, among_streams=True)
    spent_s = 0.0
    turns.chose(prompts=False)
    while not turns.prompts_are_next():
        turns.decode_took(0.01)
        spent_s += 0.01
    assert stages * 0.04 <= spent_s <= 1.25 * stages * 0.04 + 0.01
