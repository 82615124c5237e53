"""`record`, `replay`, `capsule`: what a console sees, kept in a file and shown again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict

from daemon.errors import SettingsError
from mlxconsole.commands.target import find_cluster
from mlxconsole.commands.terminal_output import reader_may_leave, say
from mlxconsole.recording import reading
from mlxconsole.recording.files import RecordingFile
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.live import LiveSource
from mlxconsole.units import duration, size

if TYPE_CHECKING:
    import argparse

    from mlxconsole.source.base import Update

LOOK_S = 0.2
LEAVE_WAIT_S = 2.0
"""How long the connections to the ranks may take to close."""


def record(arguments: argparse.Namespace) -> int:
    """Record until interrupted, or for --seconds, or up to --limit-mb."""
    say(asyncio.run(_record(arguments)))
    return 0


def replay(arguments: argparse.Namespace) -> int:
    """Show a recording in the console, or print it.

    Raises:
        SettingsError: there is no terminal, or no recording.
    """
    if arguments.json:
        with reading.opened(arguments.file) as recording, reader_may_leave():
            for update in recording.updates:
                say(json.dumps(_as_document(update, recording.header.time_s)))
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError("replay needs a terminal; with --json it prints a line per record")
    from mlxconsole.commands.console import play  # noqa: PLC0415 - textual, 0.3 s

    return play(arguments.file, speed=arguments.speed, at_s=arguments.at)


async def _record(arguments: argparse.Namespace) -> str:
    cluster = await find_cluster(arguments)
    source, stopped = LiveSource(cluster), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    most_bytes = arguments.limit_mb * 2**20
    with RecordingFile(arguments.file, cluster, most_bytes) as file:
        following = asyncio.create_task(source.follow(file.take))
        try:
            while not (stopped.is_set() or file.full or file.seconds >= arguments.seconds):
                await asyncio.wait([following], timeout=LOOK_S)
                if following.done():
                    following.result()
        finally:
            following.cancel()
            await asyncio.wait([following], timeout=LEAVE_WAIT_S)
        why = f", its limit of {arguments.limit_mb} MiB" if file.full else ""
    return f"{arguments.file}: {duration(file.seconds)}, {size(file.size_bytes)}{why}"


def _as_document(update: Update, began_s: float) -> dict[str, object]:
    """An update as one line of NDJSON."""
    document: dict[str, object] = {
        "time_s": round(began_s + update.at_s, 3),
        "rank": update.rank,
    }
    if isinstance(update, FrameArrived):
        frame = MessageToDict(update.frame, preserving_proto_field_name=True)
        return document | {"frame": frame}
    return document | {"lost": update.reason}
