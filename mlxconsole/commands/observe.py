"""`status`, `--once`: look at a cluster once and print what is there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from mlxconsole import snapshot
from mlxconsole.commands.target import ask_all, find_cluster
from mlxconsole.commands.terminal_output import say
from mlxconsole.status_table import table

if TYPE_CHECKING:
    import argparse

    from mlxconsole.cluster import Cluster
    from protos.control_pb2 import RankStatus


def status(arguments: argparse.Namespace) -> int:
    """Print a table; 0 when requests will be served, 1 otherwise."""
    cluster, statuses = asyncio.run(_look(arguments))
    say("\n".join(table(cluster, statuses)))
    return 0 if snapshot.all_ready(cluster, statuses) else 1


def once(arguments: argparse.Namespace) -> int:
    """Print the document or the sentences; 0 when any rank answered, 1 otherwise."""
    cluster, statuses = asyncio.run(_look(arguments))
    if arguments.json:
        say(json.dumps(snapshot.document(cluster, statuses)))
    else:
        say("\n".join(snapshot.sentences(cluster, statuses)))
    return 0 if statuses else 1


async def _look(arguments: argparse.Namespace) -> tuple[Cluster, dict[int, RankStatus]]:
    cluster = await find_cluster(arguments)
    return cluster, await ask_all(cluster.members)
