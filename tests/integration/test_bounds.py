"""What runs out, and who misbehaves, on a real cluster: bounded, survived, nobody else harmed."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import pytest_asyncio

from mlxconsole.chaos.faults import Fault, inject
from mlxconsole.chaos.requests import Answer, ask, bodies
from mlxconsole.chaos.victim import Victim

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
BODY = bodies("demo")[0]
SETTLE_S = 60.0
HALF_OPEN = 500


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def victim(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Victim]:
    """Two ranks whose links can be broken."""
    folder = tmp_path_factory.mktemp("victim")
    async with Victim(folder, 2, "demo", links=True) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def undisturbed(victim: Victim) -> Answer:
    """The answer to `BODY`."""
    answer = await answer_of(victim)
    assert not answer.error
    return answer


async def answer_of(victim: Victim, begun: threading.Event | None = None) -> Answer:
    """Ask."""
    event = begun or threading.Event()
    return await asyncio.to_thread(ask, victim.settings.api.port, BODY, event.set)


def connect(victim: Victim, stack: ExitStack, receive_bytes: int = 0) -> socket.socket:
    """A connection to the API that says nothing yet."""
    connection = stack.enter_context(socket.socket())
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(SETTLE_S)
    connection.connect(("127.0.0.1", victim.settings.api.port))
    return connection


async def test_half_open_connections_hold_up_nobody(victim: Victim, undisturbed: Answer) -> None:
    """Port scanners, dead load balancers, clients that wait for ever."""
    with ExitStack() as stack:
        for number in range(HALF_OPEN):
            connection = connect(victim, stack)
            if number % 2:
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost:")
        assert await answer_of(victim) == undisturbed
    assert await answer_of(victim) == undisturbed


@pytest.mark.slow
async def test_a_reader_of_one_byte_at_a_time_holds_up_nobody(
    victim: Victim, undisturbed: Answer
) -> None:
    """Its answer waits in the API process; steps of others go on."""
    body: dict[str, Any] = BODY | {"max_tokens": 500}
    text = json.dumps(body)
    with ExitStack() as stack:
        slow = connect(victim, stack, receive_bytes=1024)
        slow.sendall(
            f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
        )
        assert await asyncio.to_thread(slow.recv, 1) == b"H"
        for _ in range(3):
            assert await asyncio.to_thread(slow.recv, 1)
            assert await answer_of(victim) == undisturbed
    async with asyncio.timeout(SETTLE_S):
        while (await victim.status(0)).sequences:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process: Linux only")
async def test_an_api_process_without_file_descriptors_recovers(
    victim: Victim, undisturbed: Answer
) -> None:
    """Connections that it can't take wait in the backlog."""
    pid = (await victim.status(0)).api.pid
    process = psutil.Process(pid)
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    begun = threading.Event()
    asking = asyncio.create_task(answer_of(victim, begun))
    await asyncio.to_thread(begun.wait, SETTLE_S)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 2, before[1]))
    with ExitStack() as stack:
        for _ in range(50):
            connect(victim, stack)
        assert await asking == undisturbed
    process.rlimit(psutil.RLIMIT_NOFILE, before)
    assert await answer_of(victim) == undisturbed
    assert (await victim.status(0)).api.pid == pid


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process: Linux only")
async def test_a_worker_without_file_descriptors_recovers(
    victim: Victim, undisturbed: Answer
) -> None:
    """It can't open a link again until some are free; its answers wait for that."""
    pid = (await victim.status(0)).worker_pid
    process = psutil.Process(pid)
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    begun = threading.Event()
    asking = asyncio.create_task(answer_of(victim, begun))
    await asyncio.to_thread(begun.wait, SETTLE_S)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() - 1, before[1]))
    await inject(Fault.RESET_LINK, (0, 1), victim)
    await asyncio.sleep(1.0)  # the shortage itself, not a synchronisation
    process.rlimit(psutil.RLIMIT_NOFILE, before)
    assert await asking == undisturbed
    await victim.wait_settled(SETTLE_S)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process: Linux only")
async def test_a_full_disk_costs_log_lines_only(victim: Victim, undisturbed: Answer) -> None:
    """No supervisor can write its log: ranks die, come back and answer; the loss is counted."""
    supervisors = [psutil.Process((await victim.status(r)).supervisor_pid) for r in range(2)]
    before = supervisors[0].rlimit(psutil.RLIMIT_FSIZE)
    for process in supervisors:
        process.rlimit(psutil.RLIMIT_FSIZE, (1, before[1]))
    begun = threading.Event()
    asking = asyncio.create_task(answer_of(victim, begun))
    await asyncio.to_thread(begun.wait, SETTLE_S)
    await inject(Fault.KILL_TWO, (0, 1), victim)
    assert await asking == undisturbed
    await victim.wait_settled(SETTLE_S)
    for process in supervisors:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    await victim.restart(1)  # something to log
    await victim.wait_settled(SETTLE_S)
    assert await answer_of(victim) == undisturbed
    text = victim.log(1).read_text(encoding="utf-8")
    assert "lines lost: disk full?" in text
    assert [process.is_running() for process in supervisors] == [True, True]
