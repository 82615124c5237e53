"""A capsule in the console: the fault as it was seen, with rewind, pause and speed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlxconsole.commands.console import replaying
from mlxconsole.recording.files import RecordingFile
from mlxconsole.source import seeded
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.app import ConsoleApp
from tests.support.console_pilot import Console

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def capsule_of_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `e` writes after a rank has gone down."""
    monkeypatch.chdir(folder)
    source = FakeSource(seeded.cluster(2))
    app = ConsoleApp(source)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        running = Console(app, pilot)
        for rank in range(2):
            source.show(rank, seeded.frame(seeded.status(rank, 2), *seeded.log_lines(rank, 3)))
        await running.shows("2/2 READY")
        source.show(1, seeded.frame(seeded.down(1, 2, "killed by signal 9 (SIGKILL)")))
        await running.shows("killed by signal 9")
        await pilot.press("e")
        await running.shows("mlxconsole replay")
    return next(folder.glob("incident-lab-*.mlxrec"))  # noqa: ASYNC240 - a test's own folder


async def test_what_e_writes_replay_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The colleague who was not there sees the same ranks, log and cause."""
    path = await capsule_of_a_fault(tmp_path, monkeypatch)
    with replaying(path, speed=1.0, at_s=-0.001) as app:
        async with app.run_test(size=(100, 30), notifications=True) as pilot:
            running = Console(app, pilot)
            await running.shows("killed by signal 9")
            await running.shows("REPLAY")
            await running.shows("sequence_")
            assert "READ-ONLY" in running.text()
            await pilot.press("6")
            await running.shows("alert")


async def test_keys_of_a_replay(tmp_path: Path) -> None:
    """P holds it, ( and ) change its speed, ] and } skip ahead, [ looks back."""
    path = tmp_path / "rec"
    with RecordingFile(path, seeded.cluster(1), 2**20) as file:
        start_s = time.monotonic()
        for second in range(180):
            made = seeded.status(0, 1)
            if second >= 64:
                made = seeded.down(0, 1, "killed by signal 9 (SIGKILL)")
            file.take(FrameArrived(0, seeded.frame(made), start_s + second))
    with replaying(path, speed=0.001, at_s=0.0) as app:
        async with app.run_test(size=(120, 30), notifications=True) as pilot:
            running = Console(app, pilot)
            await running.shows("x0.001")
            await pilot.press(")")
            await running.shows("x0.5")
            await pilot.press("p")
            await running.shows("paused")
            await pilot.press("(", "p")
            await running.shows("x0.25")
            await pilot.press("right_square_bracket", "right_curly_bracket")
            await running.shows("killed by signal 9")
            await running.shows("REPLAY 1:0")
            await pilot.press("left_square_bracket")
            await running.shows("REWOUND")  # by 5 s or more: a busy machine has fewer pictures
            assert "1/1 READY" in running.text()
            await pilot.press("0", "G", *["right_curly_bracket"] * 2)
            await running.shows("REPLAY 2:59/2:59 end")
            # Minutes were passed in a moment, and yet each has its alert and its pictures.
            assert len(app.store.timeline.pictures) > 80
            await pilot.press("6")
            await running.shows("rank 0 is DOWN: killed by signal 9")


async def test_the_chat_of_a_replay_talks_to_nobody(tmp_path: Path) -> None:
    """The address in the recording may be that of a live cluster: it must see no prompt."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = tmp_path / "rec"
    with RecordingFile(
        path, replace(seeded.cluster(1), api_url=f"http://127.0.0.1:{port}"), 2**20
    ) as file:
        file.take(FrameArrived(0, seeded.frame(seeded.status(0, 1)), time.monotonic()))
    with replaying(path, speed=1.0, at_s=-0.001) as app:
        async with server, app.run_test(size=(80, 24), notifications=True) as pilot:
            running = Console(app, pilot)
            await running.shows("1/1 READY")
            assert "REPLAY 0:00/0:00 end" in running.lines()[0]
            await running.shows("FOLLOW the recording")
            await pilot.press("7")
            await running.shows("This is a recording")
            assert not app.screen.query("#chat-input")
            await pilot.press(*"hi", "enter")
            assert "New conversation" not in running.text()
            await pilot.press("escape")
            await running.shows("[1 Ranks]")
            await pilot.press("7", "2")
            await running.shows("[2 Requests]")
    assert asked == []


async def test_a_live_console_has_no_speed() -> None:
    """The keys say so instead of doing nothing."""
    app = ConsoleApp(FakeSource(seeded.cluster(1)))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await pilot.press(")")
        await Console(app, pilot).shows("only recordings have a speed")
