"""`record`, `replay`, `capsule`: what a console sees, kept in a file and shown again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict

from daemon.errors import SettingsError
from mlxconsole.commands.target import find_cluster
from mlxconsole.commands.terminal_output import say
from mlxconsole.recording import reading
from mlxconsole.recording.files import RecordingFile, write_capsule
from mlxconsole.recording.flight import FlightRecorder
from mlxconsole.source.base import FrameArrived
from mlxconsole.source.live import LiveSource
from mlxconsole.units import duration, size

if TYPE_CHECKING:
    import argparse

    from mlxconsole.source.base import Update
    from protos.control_pb2 import WatchFrame

LOOK_S = 0.2
CAPSULE_S = 3.0
"""A capsule's figures begin now: so long for rates to be seen. Lines and events are older."""
ALL_LINES = 100_000
"""More than a supervisor keeps."""
LEAVE_WAIT_S = 2.0
"""How long the connections to the ranks may take to close."""


def record(arguments: argparse.Namespace) -> int:
    """Record until interrupted, or for --seconds, or up to --limit-mb."""
    say(asyncio.run(_record(arguments)))
    return 0


def capsule(arguments: argparse.Namespace) -> int:
    """Write what the ranks still know of the last --minutes, and how they are now, into a file."""
    say(asyncio.run(_capsule(arguments)))
    return 0


def replay(arguments: argparse.Namespace) -> int:
    """Show a recording in the console, or print it.

    Raises:
        SettingsError: there is no terminal, or no recording.
    """
    if arguments.json:
        with reading.opened(arguments.file) as recording:
            for update in recording.updates:
                say(json.dumps(_as_document(update, recording.header.time_s)))
        return 0
    with reading.opened(arguments.file):
        pass  # a file that is missing is told first: no terminal would help
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


async def _capsule(arguments: argparse.Namespace) -> str:
    cluster = await find_cluster(arguments)
    recorder = FlightRecorder(cluster)
    oldest_s = time.time() - 60 * arguments.minutes
    answered: set[int] = set()

    def take(update: Update) -> None:
        if isinstance(update, FrameArrived):
            answered.add(update.rank)
            forget_before(update.frame, oldest_s)
        recorder.take(update)

    following = asyncio.create_task(LiveSource(cluster, history_lines=ALL_LINES).follow(take))
    await asyncio.wait([following], timeout=CAPSULE_S)
    following.cancel()
    await asyncio.wait([following], timeout=LEAVE_WAIT_S)
    data = recorder.capsule(CAPSULE_S + LEAVE_WAIT_S)
    path = write_capsule(arguments.folder, cluster.name, data)
    silent = [str(m.rank) for m in cluster.members if m.rank not in answered]
    missing = f"; nothing came from rank {', '.join(silent)}" if silent else ""
    return f"{path}: {size(len(data))}{missing}: `mlxconsole replay` opens it"


def forget_before(frame: WatchFrame, time_s: float) -> None:
    """Take lines and events that are older than ``time_s`` out of a frame."""
    for entries in (frame.logs, frame.events):
        for place in reversed(range(len(entries))):
            if entries[place].time_s < time_s:
                del entries[place]


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
