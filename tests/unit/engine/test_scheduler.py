"""The scheduler alone: who runs when."""

from __future__ import annotations

from daemon.engine.scheduler import Scheduler, SchedulerLimits
from daemon.engine.sequences import Sequence
from daemon.messages import SamplingParams, Step, StepResult, TokenOut


def sequence(request_id: str, length: int = 3, count: int = 100) -> Sequence:
    """A request with a prompt of ``length`` tokens."""
    prompt = tuple(range(length))
    return Sequence(request_id, prompt, count, frozenset({999}), SamplingParams(), lambda _: None)


def scheduler(depth: int = 2, chunk: int = 4, places: int = 8) -> Scheduler:
    """Bounds small enough to read."""
    return Scheduler(SchedulerLimits(depth, places, 10, chunk))


def answer(step: Step, token: int = 7) -> StepResult:
    """What the ranks say to a step: the same token for each row that samples."""
    tokens = tuple(TokenOut(row.sequence_id, token) for row in step.rows if row.sample)
    return StepResult(step.epoch, step.number, tokens)


def must(step: Step | None) -> Step:
    """The step, which there has to be."""
    assert step is not None
    return step


def test_prompt_runs_in_chunks_and_its_last_token_alone() -> None:
    """As mlx-lm splits it: the same chunks give the same bits."""
    it = scheduler(chunk=4)
    it.submit(sequence("a", length=10))
    rows = []
    for _ in range(3):
        step = must(it.schedule(1))
        rows += step.rows
        it.commit(answer(step))
    assert [(row.tokens, row.sample) for row in rows] == [
        ((0, 1, 2, 3), False),
        ((4, 5, 6, 7), False),
        ((8,), False),
        ((9,), True),
    ]


def test_chunks_of_one_prompt_follow_each_other_into_the_pipeline() -> None:
    """Every stage works on a long prompt at the same time."""
    it = scheduler(depth=2, chunk=4)
    it.submit(sequence("a", length=20))
    assert it.schedule(1)
    assert it.schedule(1)
    assert it.schedule(1) is None
    assert it.in_flight == 2


def test_running_streams_go_on_beside_a_long_prompt() -> None:
    """Issue 1908 of exo: a new prompt stalls everyone's streams. Not here: they take turns."""
    it = scheduler(depth=1, chunk=4)
    it.submit(sequence("stream", length=1))
    it.commit(answer(must(it.schedule(1))))
    it.submit(sequence("long", length=41))
    kinds: list[bool] = []
    for _ in range(16):
        step = must(it.schedule(1))
        kinds.append(step.rows[0].sequence_id == 1)
        it.commit(answer(step))
    assert sum(kinds) == 8


def test_short_prompt_does_not_wait_for_a_long_one() -> None:
    """Prompts take turns chunk by chunk."""
    it = scheduler(depth=1, chunk=4)
    it.submit(sequence("long", length=400))
    it.submit(sequence("short", length=2, count=1))
    for _ in range(8):
        news = it.commit(answer(must(it.schedule(1))))
        if any(s.request_id == "short" for s, _ in news):
            return
    raise AssertionError("the short prompt still waits after 8 steps")


def test_short_prompts_share_a_step() -> None:
    """Sixteen clients at once must not wait for sixteen steps."""
    it = scheduler(depth=1, chunk=16)
    for number in range(5):
        it.submit(sequence(str(number), length=4))
    step = must(it.schedule(1))
    assert [len(row.tokens) for row in step.rows] == [3, 1] * 5
    assert [row.sample for row in step.rows] == [False, True] * 5
    assert len(it.commit(answer(step))) == 5


def test_long_prompt_is_cut_at_the_same_places_in_company() -> None:
    """Other cuts could give other low bits on some devices."""
    it = scheduler(depth=1, chunk=4)
    it.submit(sequence("short", length=3))
    it.submit(sequence("long", length=10))
    lengths: list[int] = []
    for _ in range(12):
        step = must(it.schedule(1))
        lengths += [len(row.tokens) for row in step.rows if row.sequence_id == 2]
        it.commit(answer(step))
    assert lengths[:4] == [4, 4, 1, 1]


def decoding(count: int) -> tuple[Scheduler, list[Sequence]]:
    """Two stages, and streams that all have their first token."""
    it = scheduler(depth=2)
    streams = [sequence(str(number), length=1) for number in range(count)]
    for stream in streams:
        it.submit(stream)
    it.commit(answer(must(it.schedule(1))))
    return it, streams


def test_as_many_groups_as_stages() -> None:
    """Two groups keep two stages busy; a third step would only wait."""
    it, _ = decoding(4)
    steps = [must(it.schedule(1)), must(it.schedule(1))]
    ids = [{row.sequence_id for row in step.rows} for step in steps]
    assert [len(i) for i in ids] == [2, 2]
    assert not ids[0] & ids[1]
    assert it.schedule(1) is None


def test_groups_are_balanced_when_streams_end() -> None:
    """An empty group leaves a stage idle."""
    it, streams = decoding(4)
    for stream in [s for s in streams if s.group == 0]:
        it.cancel(stream)
    steps = [must(it.schedule(1)), must(it.schedule(1))]
    assert [len(step.rows) for step in steps] == [1, 1]


def test_stop_token_ends_and_is_not_given_out() -> None:
    """Clients see `stop` and no end-of-turn marker."""
    it = scheduler()
    it.submit(sequence("a", length=1))
    [(_, update)] = it.commit(answer(must(it.schedule(1)), token=999))
    assert (update.tokens, update.finish_reason) == ((), "stop")


def test_a_token_that_could_not_be_chosen_ends_its_sequence_only() -> None:
    """A grammar that fails is one client's matter; its place on the ranks is freed."""
    it = scheduler()
    for name in ("a", "b"):
        it.submit(sequence(name, length=1))
    step = must(it.schedule(1))
    first, second = step.rows
    tokens = (TokenOut(first.sequence_id, 0, error="no token"), TokenOut(second.sequence_id, 7))
    (_, failed), (_, went_on) = it.commit(StepResult(1, step.number, tokens))
    assert str(failed.error) == "no token"
    assert (went_on.error, len(went_on.tokens)) == (None, 1)
    assert must(it.schedule(1)).closed == (first.sequence_id,)


def test_a_sequence_whose_grammar_is_not_ready_comes_again() -> None:
    """From its first token, opened anew; nobody hears of it."""
    it = scheduler()
    it.submit(sequence("a", length=3))
    step = must(it.schedule(1))
    *_, row = step.rows
    later = TokenOut(row.sequence_id, 0, later=True)
    assert it.commit(StepResult(1, step.number, (later,))) == []
    again = must(it.schedule(1))
    assert again.closed == (row.sequence_id,)
    assert [opened.sequence_id for opened in again.opened] == [row.sequence_id]
    assert again.rows == step.rows
    [(_, update)] = it.commit(answer(again))
    assert [out.token for out in update.tokens] == [7]


def test_places_are_bounded_and_taken_in_order() -> None:
    """First come, first served."""
    it = scheduler(places=1, depth=1)
    first, second = sequence("a", length=1, count=1), sequence("b", length=1, count=1)
    it.submit(first)
    it.submit(second)
    it.commit(answer(must(it.schedule(1))))
    assert it.queue_depth == 1
    it.commit(answer(must(it.schedule(1))))
    assert (first.generated, second.generated) == ([7], [7])


def test_rewind_runs_everything_again() -> None:
    """After a loss the tokens are enough to rebuild what the stages held."""
    it = scheduler(depth=2)
    it.submit(sequence("a", length=3))
    for _ in range(3):
        it.commit(answer(must(it.schedule(1))))
    it.schedule(1)
    it.rewind()
    step = must(it.schedule(2))
    assert step.opened[0].generated == 3
    assert step.rows[0].tokens == (0, 1, 2, 7)
    assert step.epoch == 2


def test_closings_travel_even_when_nothing_else_does() -> None:
    """Memory of the last stream must be freed without waiting for the next one."""
    it = scheduler()
    stream = sequence("a", length=1)
    it.submit(stream)
    it.commit(answer(must(it.schedule(1))))
    it.cancel(stream)
    step = must(it.schedule(1))
    assert (step.closed, step.rows) == ((1,), ())
    it.commit(answer(step))
    assert it.schedule(1) is None
