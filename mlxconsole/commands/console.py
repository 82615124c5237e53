"""`mlxconsole`: the console on a terminal. Apart from the rest, because textual is slow to load."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole.alert_settings import find_settings
from mlxconsole.commands.target import find_cluster, state_dir
from mlxconsole.recording.reading import opened, span
from mlxconsole.source.guarded import GuardedSource, on_loopback
from mlxconsole.source.live import LiveSource
from mlxconsole.source.replay import Playback, ReplaySource
from mlxconsole.store import Store
from mlxconsole.ui.app import ConsoleApp
from mlxconsole.ui.look import THEMES, Look, wants_ascii

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator
    from pathlib import Path

    from mlxconsole.alert_settings import AlertSettings
    from mlxconsole.cluster import Cluster
    from mlxconsole.local.state_dir import StateDir

THEME_NAMES = dict(zip(("dark", "light", "colour-blind"), THEMES, strict=True))


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
    look = Look(THEME_NAMES.get(arguments.theme, ""), arguments.ascii or wants_ascii())
    alerts = find_settings(arguments.alerts)
    return watch(cluster, state_dir(arguments), read_only=read_only, alerts=alerts, look=look)


def play(path: Path, *, speed: float, at_s: float) -> int:
    """Show a recording until the operator leaves it; the console's exit code.

    Raises:
        SettingsError: it can't be read, or is none.
    """
    with replaying(path, speed=speed, at_s=at_s) as app:
        app.run()
    return app.return_code or 0


@contextmanager
def replaying(path: Path, *, speed: float, at_s: float) -> Generator[ConsoleApp]:
    """A console on a recording.

    Args:
        path: the recording.
        speed: in times of the original.
        at_s: where to begin, from the start, or if negative from the end.

    Raises:
        SettingsError: it can't be read, or is none.
    """
    header, first_s, last_s = span(path)
    playback = Playback(first_s, last_s, speed)
    playback.skip(at_s if at_s >= 0 else max(last_s - first_s + at_s, 0.0))
    store = Store(
        header.cluster,
        clock=lambda: playback.position_s,
        wall_clock=lambda: header.time_s + playback.position_s,
        playback=playback,
    )
    with opened(path) as recording:
        yield ConsoleApp(ReplaySource(header.cluster, recording.updates, playback), store)


def watch(
    cluster: Cluster,
    state: StateDir,
    *,
    read_only: bool = False,
    alerts: AlertSettings | None = None,
    look: Look | None = None,
) -> int:
    """Run the console until the operator leaves it; its exit code."""
    source = GuardedSource(LiveSource(cluster), read_only=read_only, audit=state.audit)
    look = look or Look(ascii=wants_ascii())
    store = Store(cluster)
    store.start_command = _start_command(cluster, state)
    app = ConsoleApp(source, store, alerts=alerts or find_settings(None), look=look)
    app.run()
    return app.return_code or 0


def _start_command(cluster: Cluster, state: StateDir) -> str:
    if on_loopback(cluster):
        return f"mlxconsole up{state.flag}"
    return "mlx-daemon --rank N --config cluster.toml, on each machine"
