"""`mlxconsole`: the console on a terminal. Apart from the rest, because textual is slow to load."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole.commands.target import find_cluster
from mlxconsole.source.live import LiveSource
from mlxconsole.ui.app import ConsoleApp

if TYPE_CHECKING:
    import argparse

    from mlxconsole.cluster import Cluster


def console(arguments: argparse.Namespace) -> int:
    """Watch the cluster that the flags name.

    Raises:
        SettingsError: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError(
            "the console needs a terminal: use `mlxconsole status` or `mlxconsole --once --json`"
        )
    return watch(asyncio.run(find_cluster(arguments)))


def watch(cluster: Cluster) -> int:
    """Run the console until the operator leaves it; its exit code."""
    app = ConsoleApp(LiveSource(cluster))
    app.run()
    return app.return_code or 0
