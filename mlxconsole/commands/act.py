"""Commands that change a running cluster: `down`, and what is done to a rank or a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.errors import NotReady, SettingsError
from mlxconsole.commands.target import ask_all, find_cluster, start_command, state_dir
from mlxconsole.commands.terminal_output import say
from mlxconsole.local.stop import take_down, take_down_remote
from mlxconsole.source.base import Action
from mlxconsole.source.live import LiveSource
from mlxconsole.status_table import no_answer

if TYPE_CHECKING:
    import argparse


def down(arguments: argparse.Namespace) -> int:
    """End the cluster; fine if there is none."""
    if arguments.connect:
        cluster = asyncio.run(find_cluster(arguments))
        count = asyncio.run(take_down_remote(cluster, arguments.timeout))
    else:
        count = asyncio.run(take_down(state_dir(arguments)))
    say(f"{count} rank{'s' if count != 1 else ''} ended" if count else "nothing is running")
    return 0


def act(arguments: argparse.Namespace) -> int:
    """Restart, drain, undrain or kill a rank, in its generation now or that of --generation."""
    say(asyncio.run(_act(arguments, arguments.rank)))
    return 0


def cancel(arguments: argparse.Namespace) -> int:
    """End one request."""
    say(asyncio.run(_act(arguments, 0)))
    return 0


async def _act(arguments: argparse.Namespace, rank: int) -> str:
    cluster = await find_cluster(arguments)
    member = next((m for m in cluster.members if m.rank == rank), None)
    if member is None:
        raise SettingsError(
            f"there is no rank {rank}: this cluster has ranks 0 to {len(cluster.members) - 1}"
        )
    answers = await ask_all([member])
    if not answers:
        raise NotReady(no_answer(member, start_command(arguments, cluster)))
    generation = arguments.generation
    if generation is None:
        generation = answers[rank].generation
    drain_s, request_id = getattr(arguments, "drain", 0.0), getattr(arguments, "request", "")
    action = Action(arguments.command, rank, generation, drain_s, request_id)
    return await LiveSource(cluster).act(action)
