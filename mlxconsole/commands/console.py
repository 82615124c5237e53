"""`mlxconsole`: the console on a terminal. Apart from the rest, because textual is slow to load."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole.commands.target import find_cluster, state_dir
from mlxconsole.source.guarded import GuardedSource, on_loopback
from mlxconsole.source.live import LiveSource
from mlxconsole.ui.app import ConsoleApp

if TYPE_CHECKING:
    import argparse

    from mlxconsole.cluster import Cluster
    from mlxconsole.local.state_dir import StateDir


def console(arguments: argparse.Namespace) -> int:
    """Watch the cluster that the flags name.

    Raises:
        SettingsError: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError(
            "the console needs a terminal: use `mlxconsole status` or `mlxconsole --once --json`"
        )
    cluster = asyncio.run(find_cluster(arguments))
    read_only = not (arguments.allow_actions or on_loopback(cluster))
    return watch(cluster, state_dir(arguments), read_only=read_only)


def watch(cluster: Cluster, state: StateDir, *, read_only: bool = False) -> int:
    """Run the console until the operator leaves it; its exit code."""
    source = GuardedSource(LiveSource(cluster), read_only=read_only, audit=state.audit)
    app = ConsoleApp(source)
    app.run()
    return app.return_code or 0
