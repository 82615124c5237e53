"""Every kind of fault against real processes: no answer changes, nobody sees more than a pause."""

from __future__ import annotations

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from mlxconsole.chaos.faults import FAIL_STEP, Fault, choose_ranks, inject, strike
from mlxconsole.chaos.load import Load
from mlxconsole.chaos.requests import Answer, ask, bodies
from mlxconsole.chaos.victim import Victim
from tests.support.running_cluster import mlxconsole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from protos.control_pb2 import RankStatus

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
SETTLE_S = 60.0
STREAMS = 16
BODIES = [body for _ in range(2) for body in bodies("demo")][:STREAMS]
MID_DECODE = 100  # events of all streams together
IN_PREFILL = 1
BETWEEN = 0
"""Before the first request."""


class Subject:
    """A cluster, and what it answers when nobody disturbs it."""

    def __init__(self, victim: Victim, references: list[Answer]) -> None:
        self.victim = victim
        self.ranks = victim.world_size
        self.references = references

    async def disturb(self, fault: Fault, ranks: tuple[int, ...], at_event: int) -> list[Answer]:
        """All answers of a run in which ``fault`` strikes at event number ``at_event``."""
        loop, due = asyncio.get_running_loop(), asyncio.Event()
        count = iter(range(1, 1_000_000))

        def on_event() -> None:
            if next(count) == at_event:
                loop.call_soon_threadsafe(due.set)

        port = self.victim.settings.api.port
        with ThreadPoolExecutor(len(BODIES)) as pool:
            if at_event == BETWEEN:
                await inject(fault, ranks, self.victim)
            asking = [loop.run_in_executor(pool, ask, port, body, on_event) for body in BODIES]
            if at_event != BETWEEN:
                await asyncio.wait_for(due.wait(), SETTLE_S)
                await inject(fault, ranks, self.victim)
            answers = await asyncio.gather(*asking)
        await self.victim.wait_settled(SETTLE_S)
        return answers

    def assert_undisturbed(self, answers: list[Answer]) -> None:
        """Text, finish reason, token count and log probabilities are those of the references."""
        assert [answer.error for answer in answers] == [""] * len(answers)
        for answer, reference in zip(answers, self.references, strict=True):
            assert answer.content == reference.content

    async def life(self) -> tuple[int, ...]:
        """The epoch and the workers; after a loss, at least one is another."""
        statuses = [await self.victim.status(rank) for rank in range(self.ranks)]
        return statuses[0].epoch, *(status.worker_pid for status in statuses)

    async def order(self, *words: object) -> None:
        """Have the command line do something to a rank."""
        control = f"127.0.0.1:{self.victim.settings.ranks[0].control_port}"
        done = await asyncio.to_thread(mlxconsole, *map(str, words), "--connect", control)
        assert done.returncode == 0, done.stderr

    async def until(self, rank: int, condition: Callable[[RankStatus], bool]) -> None:
        """Wait until a rank's status meets a condition."""
        async with asyncio.timeout(SETTLE_S):
            while not condition(await self.victim.status(rank)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def load(self) -> Load:
        """Streams that ask and ask again, from now on."""
        load = Load(self.victim.settings.api.port, "demo", 4, self.references)
        load.start()
        return load

    async def assert_unharmed(self, load: Load) -> None:
        """End the load: every answer was the undisturbed one."""
        requests = await asyncio.to_thread(load.finish)
        assert requests
        assert {request.verdict for request in requests} == {"same"}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)]
)
async def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Subject]:
    """One cluster for all tests here: surviving the last test is part of each."""
    folder = tmp_path_factory.mktemp("victim")
    different = len(bodies("demo"))
    async with Victim(folder, request.param, "demo", links=True) as victim:
        port = victim.settings.api.port
        asked = BODIES[:different]
        references = [await asyncio.to_thread(ask, port, body, lambda: None) for body in asked]
        assert [answer.error for answer in references] == [""] * different
        assert all(
            json.loads(a.text) for a, b in zip(references, asked, strict=True) if wants_json(b)
        )
        yield Subject(victim, [references[n % different] for n in range(STREAMS)])


def wants_json(body: dict[str, Any]) -> bool:
    """Whether a grammar holds its answer."""
    return "response_format" in body


def slow(fault: Fault, ranks: tuple[int, ...], at_event: int = MID_DECODE) -> object:
    """A case for `-m slow` (and for `mlxconsole chaos`, which has them all)."""
    return pytest.param(fault, ranks, at_event, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("fault", "ranks", "at_event"),
    [
        (Fault.KILL_TWO, (0, 1), MID_DECODE),
        (Fault.STOP_WORKER, (1,), MID_DECODE),
        slow(Fault.KILL_SUPERVISOR, (1,)),
        slow(Fault.KILL_FOLLOWER, (1,), IN_PREFILL),
        slow(Fault.KILL_LEADER, (0,), IN_PREFILL),
        slow(Fault.KILL_LOADING, (1,), IN_PREFILL),
        slow(Fault.KILL_LOADING, (0,)),
        slow(Fault.KILL_OTHER, (0, 1)),
        slow(Fault.KILL_OTHER, (1, 0)),
        slow(Fault.KILL_FIVE_TIMES, (0,)),
        slow(Fault.KILL_FIVE_TIMES, (1,)),
        slow(Fault.STOP_WORKER, (0,)),
        slow(Fault.STOP_WORKER, (0,), IN_PREFILL),
        slow(Fault.LOSE_LINK, (0, 1)),
        (Fault.LOOP_STEP, (1,), MID_DECODE),
        slow(Fault.LOOP_STEP, (0,)),
        slow(Fault.LOOP_STEP, (1,), IN_PREFILL),
        slow(Fault.HANG_STEP, (0,)),
        slow(Fault.HANG_STEP, (1,)),
        slow(Fault.KILL_TWO, (0, 1), IN_PREFILL),
        slow(Fault.KILL_FOLLOWER, (1,), BETWEEN),
        slow(Fault.KILL_LEADER, (0,), BETWEEN),
        slow(Fault.RESTART, (0,)),
        slow(Fault.RESTART, (1,)),
    ],
)
async def test_no_answer_changes(
    subject: Subject, fault: Fault, ranks: tuple[int, ...], at_event: int
) -> None:
    """The signature of the product, fault by fault."""
    before = await subject.life()
    subject.assert_undisturbed(await subject.disturb(fault, ranks, at_event))
    assert await subject.life() != before, "the fault did not strike"


@pytest.mark.parametrize(
    ("fault", "ranks"),
    [
        (Fault.RESET_LINK, (0, 1)),
        (Fault.STALL_LINK, (0, 1)),
        pytest.param(Fault.PAUSE_WORKER, (0,), marks=pytest.mark.slow),
        pytest.param(Fault.PAUSE_WORKER, (1,), marks=pytest.mark.slow),
    ],
)
async def test_short_outages_are_survived_in_the_same_epoch(
    subject: Subject, fault: Fault, ranks: tuple[int, ...]
) -> None:
    """Frames are kept and sent again: none is lost or applied twice, nothing is computed again."""
    before = await subject.life()
    subject.assert_undisturbed(await subject.disturb(fault, ranks, MID_DECODE))
    assert await subject.life() == before


async def test_out_of_memory_costs_the_requests_of_that_step_only(subject: Subject) -> None:
    """The others' answers are the undisturbed ones; the rank lives on; the error says why."""
    before = await subject.life()
    port = subject.victim.settings.api.port
    for rank in range(subject.ranks):
        with ThreadPoolExecutor(STREAMS) as pool:
            asking = [pool.submit(ask, port, body, lambda: None) for body in BODIES]
            await asyncio.sleep(0.5)  # some of them decode, in several groups
            await strike(subject.victim, rank, FAIL_STEP)
            answers = [await asyncio.wrap_future(future) for future in asking]
        failed = [answer for answer in answers if answer.error]
        assert 0 < len(failed) < STREAMS
        known = (f"rank {rank}: ", "Unable to allocate")
        others = [a.error for a in failed if not all(words in a.error for words in known)]
        assert others == []
        for answer, reference in zip(answers, subject.references, strict=True):
            assert answer.error or answer.content == reference.content
    assert await subject.life() == before


async def test_a_killed_api_process_costs_its_own_connections_only(subject: Subject) -> None:
    """Its sockets die with it; what it had asked for is freed, and the next one serves."""
    before = await subject.life()
    answers = await subject.disturb(Fault.KILL_API, (0,), MID_DECODE)
    assert any(answer.error for answer in answers)
    async with asyncio.timeout(SETTLE_S):
        while (await subject.victim.status(0)).sequences:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    port = subject.victim.settings.api.port
    again = await asyncio.to_thread(ask, port, BODIES[0], lambda: None)
    assert again == subject.references[0]
    assert await subject.life() == before


@pytest.mark.parametrize("drain_s", [0, 20])
async def test_a_rolling_restart_fails_no_request(subject: Subject, drain_s: int) -> None:
    """How a new version is rolled out from the command line: every rank in turn, under load."""
    load = subject.load()
    for rank in range(subject.ranks):
        generation = (await subject.victim.status(rank)).generation
        await subject.order("restart", rank, "--drain", str(drain_s))
        await subject.until(rank, lambda now, old=generation: now.generation == old + 1)
        await subject.victim.wait_settled(SETTLE_S)
    await subject.assert_unharmed(load)


async def test_taking_ranks_out_of_work_fails_no_request(subject: Subject) -> None:
    """A follower's layers move and come back; under rank 0 new requests wait for a moment."""
    load = subject.load()
    before = await subject.life()
    for rank in reversed(range(subject.ranks)):
        await subject.order("drain", rank)
        await subject.until(rank, lambda now: now.drained)
        await subject.order("undrain", rank)
        await subject.victim.wait_settled(SETTLE_S)
    await subject.assert_unharmed(load)
    assert (await subject.life())[1:] == before[1:], "no worker had to be another"


@pytest.mark.parametrize("fault", list(Fault))
async def test_every_fault_has_its_ranks(fault: Fault) -> None:
    """Chosen by seed, and never more than there are."""
    ranks = choose_ranks(fault, 4, random.Random(5))
    assert ranks == choose_ranks(fault, 4, random.Random(5))
    assert len(set(ranks)) == len(ranks) <= 2
    assert set(ranks) <= set(range(4))
