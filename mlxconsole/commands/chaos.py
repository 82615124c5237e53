"""`chaos`: break a cluster of its own under load, and report whether anybody noticed."""

from __future__ import annotations

import asyncio
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole.chaos.faults import Fault
from mlxconsole.chaos.report import markdown
from mlxconsole.chaos.run import Chaos, Plan
from mlxconsole.commands.terminal_output import say

if TYPE_CHECKING:
    import argparse


def chaos(arguments: argparse.Namespace) -> int:
    """Run; 0 when every answer was the undisturbed one, 1 otherwise."""
    plan = _plan(arguments)
    with tempfile.TemporaryDirectory(prefix="mlxconsole-chaos-") as folder:
        run = asyncio.run(Chaos(plan, Path(folder), say).run())
    text = markdown(run)
    if arguments.report:
        arguments.report.write_text(text, encoding="utf-8")
    say(text)
    return 0 if run.passed else 1


def _plan(arguments: argparse.Namespace) -> Plan:
    """What the flags ask for.

    Raises:
        SettingsError: says which flag is wrong.
    """
    if arguments.ranks < 2:
        raise SettingsError(f"--ranks {arguments.ranks}: chaos needs at least 2")
    if arguments.streams < 1 or arguments.minutes <= 0 or arguments.calm < 0:
        raise SettingsError("--streams and --minutes must be over 0, --calm not below it")
    faults = tuple(Fault)
    if arguments.only:
        known = {fault.name.lower(): fault for fault in Fault}
        names = arguments.only.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise SettingsError(f"--only {unknown[0]}: no such fault; there are {', '.join(known)}")
        faults = tuple(known[name] for name in names)
    return Plan(
        command=shlex.join(["mlxconsole", *sys.argv[1:]]),
        seconds=arguments.minutes * 60.0,
        seed=arguments.seed,
        ranks=arguments.ranks,
        model=arguments.model,
        streams=arguments.streams,
        faults=faults,
        calm_s=arguments.calm,
    )
