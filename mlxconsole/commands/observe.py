"""`status`, `--once`, `--watch`, `check`: look at a cluster and print what is there."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole import snapshot
from mlxconsole.check_expression import evaluate, figures
from mlxconsole.commands.target import ask_all, find_cluster, start_command
from mlxconsole.commands.terminal_output import complain, say
from mlxconsole.status_table import table

if TYPE_CHECKING:
    import argparse

    from mlxconsole.cluster import Cluster
    from protos.control_pb2 import RankStatus

WATCH_INTERVAL_S = 1.0


def status(arguments: argparse.Namespace) -> int:
    """Print a table; 0 when requests will be served, 1 otherwise."""
    cluster, statuses = asyncio.run(_look(arguments))
    say("\n".join(table(cluster, statuses, start_command(arguments, cluster))))
    return 0 if snapshot.all_ready(cluster, statuses) else 1


def once(arguments: argparse.Namespace) -> int:
    """Print the document or the sentences; 0 when any rank answered, 1 otherwise."""
    cluster, statuses = asyncio.run(_look(arguments))
    if arguments.json:
        say(json.dumps(snapshot.document(cluster, statuses)))
    else:
        say("\n".join(snapshot.sentences(cluster, statuses)))
    return 0 if statuses else 1


def watch(arguments: argparse.Namespace) -> int:
    """Print the document, or what changed of the sentences, every second until interrupted."""
    asyncio.run(_watch(arguments))
    return 0


def check(arguments: argparse.Namespace) -> int:
    """0 when the expression holds, 1 when it does not or nobody answers, 2 when it is none."""
    known = figures(*asyncio.run(_look(arguments)))
    try:
        holds = evaluate(arguments.expression, known)
    except SettingsError as error:
        complain(str(error))
        return 2
    if not holds:
        complain(f"does not hold: {', '.join(f'{k}={v:g}' for k, v in known.items())}")
    return 0 if holds else 1


async def _watch(arguments: argparse.Namespace) -> None:
    cluster, said = await find_cluster(arguments), set[str]()
    while True:
        statuses = await ask_all(cluster.members)
        if arguments.json:
            at = {"time_s": round(time.time(), 3)}
            say(json.dumps(at | snapshot.document(cluster, statuses)))
        else:
            told = snapshot.sentences(cluster, statuses, rates=False)
            for line in told:
                if line not in said:
                    say(line)
            said = set(told)
        await asyncio.sleep(WATCH_INTERVAL_S)


async def _look(arguments: argparse.Namespace) -> tuple[Cluster, dict[int, RankStatus]]:
    cluster = await find_cluster(arguments)
    return cluster, await ask_all(cluster.members)
