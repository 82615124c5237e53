"""`down` and `restart`: commands that change a running cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole.commands.target import ask_all, find_cluster, state_dir
from mlxconsole.commands.terminal_output import say
from mlxconsole.local.stop import take_down, take_down_remote
from mlxconsole.source.live import LiveSource

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


def restart(arguments: argparse.Namespace) -> int:
    """Restart one rank's worker, in the generation it is in now or that --generation names."""
    say(asyncio.run(_restart(arguments)))
    return 0


async def _restart(arguments: argparse.Namespace) -> str:
    cluster = await find_cluster(arguments)
    member = next((m for m in cluster.members if m.rank == arguments.rank), None)
    if member is None:
        raise SettingsError(
            f"there is no rank {arguments.rank}: this cluster has ranks 0 to "
            f"{len(cluster.members) - 1}"
        )
    generation = arguments.generation
    if generation is None:
        answers = await ask_all([member])
        generation = answers[member.rank].generation if answers else 0
    return await LiveSource(cluster).restart(member.rank, generation)
