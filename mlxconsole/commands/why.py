"""`why`: watch a cluster for a few seconds and say what makes it slow."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from mlxconsole import insight
from mlxconsole.commands.target import find_cluster
from mlxconsole.commands.terminal_output import say
from mlxconsole.source.live import LiveSource
from mlxconsole.store import Store

if TYPE_CHECKING:
    import argparse

SCHEMA = 1
"""Version of the document: grows when a key goes or changes its meaning."""


def why(arguments: argparse.Namespace) -> int:
    """Print the diagnosis; 0 when something ran, 1 when nothing did."""
    store = asyncio.run(_watched(arguments))
    found = insight.why(store)
    if arguments.json:
        ranks = [asdict(pace) for pace in insight.paces(store)]
        forecasts = [asdict(one) for one in insight.memory(store)]
        document = {"schema": SCHEMA, **asdict(found), "ranks": ranks, "memory": forecasts}
        say(json.dumps(document))
    else:
        say("\n".join((*found.sentences, *(one.sentence for one in insight.memory(store)[:1]))))
    return 1 if found.kind == "idle" else 0


async def _watched(arguments: argparse.Namespace) -> Store:
    cluster = await find_cluster(arguments)
    store = Store(cluster)
    following = asyncio.create_task(LiveSource(cluster).follow(store.apply))
    try:
        await asyncio.wait([following], timeout=arguments.seconds)
        if following.done():
            following.result()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return store
