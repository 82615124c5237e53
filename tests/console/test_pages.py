"""The pages of requests, links and chat, and the actions: under a pilot, on a made-up cluster."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mlxconsole.source import seeded
from mlxconsole.source.base import Action
from mlxconsole.source.fake import FakeSource
from mlxconsole.ui.action_dialog import ActionDialog
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.main_screen import MainScreen
from protos.control_pb2 import LinkStatus, RequestStatus, RequestTable, WatchFrame
from tests.support.console_pilot import Console

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlxconsole.cluster import Cluster

ROWS = [
    RequestStatus(id="req_aa/0", state="decode", age_s=3, prompt_tokens=20, generated_tokens=7,
                  max_tokens=64, first_token_s=0.2, token_s=0.03, client="alice"),
    RequestStatus(id="req_bb/0", state="prefill", age_s=9, prompt_tokens=900, max_tokens=32,
                  cached_tokens=450, client="bob"),
    RequestStatus(id="req_cc/0", state="waiting", age_s=1, prompt_tokens=5, max_tokens=10),
]  # fmt: skip


class PagesConsole(Console):
    """With its source at hand."""

    source: FakeSource


@asynccontextmanager
async def console(
    cluster: Cluster | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncGenerator[PagesConsole]:
    """Three ranks at work, three requests, a link."""
    source = FakeSource(cluster or seeded.cluster(3))
    app = ConsoleApp(source)
    async with app.run_test(size=size, notifications=True) as pilot:
        running = PagesConsole(app, pilot)
        running.source = source
        for rank in range(3):
            status = seeded.status(rank, 3)
            link = LinkStatus(peer=(rank + 1) % 3, state="up", rtt_p50_s=0.0004, rtt_p99_s=0.002)
            status.links.append(link)
            source.show(rank, WatchFrame(status=status, requests=RequestTable(rows=ROWS, total=3)))
        await running.shows("3/3 READY")
        yield running


async def test_requests_sort_filter_and_lead_to_their_lines() -> None:
    """Who is slow, who is it, what did the log say."""
    async with console() as running:
        await running.pilot.press("2")
        await running.shows("req_bb/0")
        text = running.text()
        assert text.index("req_aa/0") < text.index("req_bb/0") < text.index("req_cc/0")
        assert "7/64" in text
        assert "50%" in text
        await running.pilot.press(*[">"] * 4)
        await running.shows("PROMPTv")
        text = running.text()
        assert text.index("req_bb/0") < text.index("req_aa/0") < text.index("req_cc/0")
        await running.pilot.press("slash", *"alice", "enter")
        await running.until(lambda: "req_bb/0" not in running.text())
        await running.pilot.press("enter")
        await running.shows("/req_aa dims others")


async def test_cancel_names_the_request_and_rests_on_cancel() -> None:
    """K acts on the request under the cursor, after a word."""
    async with console() as running:
        await running.pilot.press("2", "K")
        await running.shows("Cancel request req_aa/0?")
        assert "7 of at most 64 tokens" in running.text()
        await running.pilot.press("enter")
        await running.shows("Not confirmed: nothing was done")
        assert running.source.acts == []
        await running.pilot.press("K", "tab", "enter")
        cancelled = Action("cancel", 0, 1, request_id="req_aa/0")
        await running.until(lambda: running.source.acts == [cancelled])


async def test_kill_wants_its_words() -> None:
    """Enter alone, or the wrong rank, kills nobody."""
    async with console() as running:
        await running.pilot.press("j", "X")
        await running.shows("Type  kill 1  to go on")
        await running.pilot.press("enter", *"kill 2", "enter")
        assert isinstance(running.app.screen, ActionDialog)
        await running.pilot.press("ctrl+u", *"kill 1", "enter")
        await running.until(lambda: running.source.acts == [Action("kill", 1, 1)])


async def test_several_ranks_want_words_too() -> None:
    """Tagged with Space; the dialog names them all."""
    async with console() as running:
        await running.pilot.press("space", "j", "space", "R")
        await running.shows("Restart ranks 0, 1?")
        await running.pilot.press(*"restart 0 1", "enter")
        await running.until(lambda: len(running.source.acts) == 2)
        assert running.source.acts == [Action("restart", 0, 1), Action("restart", 1, 1)]


async def test_restart_offers_to_drain_first() -> None:
    """The kinder way is one key further."""
    async with console() as running:
        await running.pilot.press("j", "R", "tab", "tab", "enter")
        drained = Action("restart", 1, 1, drain_timeout_s=30.0)
        await running.until(lambda: running.source.acts == [drained])


async def test_drain_then_restart_then_undrain() -> None:
    """Each is asked about, and says what becomes of the requests."""
    async with console() as running:
        await running.pilot.press("j", "D")
        await running.shows("The others take its layers: 3 live requests pause")
        await running.pilot.press("tab", "enter")
        await running.pilot.press("R", "tab", "enter", "U")
        await running.shows("It takes its layers back")
        await running.pilot.press("tab", "enter")
        names = ["drain", "restart", "undrain"]
        await running.until(lambda: [a.name for a in running.source.acts] == names)


async def test_links_show_round_trips_at_both_ends() -> None:
    """A line for each direction; in milliseconds."""
    async with console() as running:
        await running.pilot.press("4")
        await running.shows(" 0 > 1   up")
        line = next(text for text in running.lines() if " 1 > 2 " in text)
        assert "0.4ms" in line
        assert "2.0ms" in line


async def test_the_last_trouble_of_a_link_is_whole_on_a_small_screen() -> None:
    """Beside the figures where it fits, below them where not; the cursor reaches every line."""
    reason = "rank 2 is connecting again after its worker ended: killed by signal 9 (SIGKILL)"
    async with console(size=(80, 24)) as running:
        status = seeded.status(1, 3)
        status.links.append(LinkStatus(peer=2, state="connecting", interruptions=3, reason=reason))
        running.source.show(1, WatchFrame(status=status))
        await running.pilot.press("4")
        await running.shows("last trouble: rank 2 is")
        assert reason in " ".join(running.text().split())
        assert "LAST" not in running.text()
        await running.pilot.press("j", "j")
        running.app.paint()
        await running.shows(">         last trouble")
        await running.pilot.press("G")
        await running.shows("> 2 > 0")
        await running.pilot.resize_terminal(200, 24)
        await running.shows(f"   3  {reason}")
        await running.shows("LAST TROUBLE")


async def test_chat_streams_an_answer_and_tells_its_speed() -> None:
    """Over HTTP, as any client; Escape ends an answer, errors are text."""
    asked: list[dict[str, object]] = []
    leave = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        asked.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for text in ("Hel", "lo you"):
            piece = json.dumps({"choices": [{"delta": {"content": text}}]})
            data = f"data: {piece}\n\n".encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        if len(asked) > 1:
            await leave.wait()
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cluster = replace(seeded.cluster(3), api_url=f"http://127.0.0.1:{port}")
    async with server, console(cluster) as running:
        await running.pilot.press("7", *"hi", "enter")
        await running.shows("Hello you")
        await running.shows("| done")
        await running.pilot.press(*"more", "enter")
        await running.shows("| answering")
        await running.pilot.press("escape")
        await running.shows("| cancelled")
        leave.set()
        server.close()
        await running.pilot.press(*"still there?", "enter")
        await running.shows("nobody answers at")
        assert isinstance(running.app.screen, MainScreen)
    assert asked[1]["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello you"},
        {"role": "user", "content": "more"},
    ]
