"""The `mlxconsole` command: reads flags, runs one command, turns errors into one line.

The only place that exits. Heavy imports stay in the commands that need them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from daemon import __version__
from daemon.errors import ClusterError
from mlxconsole.commands.terminal_output import complain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

USAGE_ERROR = 2
START_TIMEOUT_S = 600.0
DOWN_TIMEOUT_S = 15.0
RECORD_LIMIT_MB = 1024


class Parser(argparse.ArgumentParser):
    """Complains in one line instead of a page."""

    def error(self, message: str) -> NoReturn:
        """Exit with what was wrong and where to read on."""
        complain(f"{message}: see `{self.prog} --help`")
        raise SystemExit(USAGE_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    given = parser().parse_args(arguments)
    try:
        return command(given)(given)
    except ClusterError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def command(given: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """The function that the flags ask for."""
    if given.command == "up":
        from mlxconsole.commands.up import up  # noqa: PLC0415 - each command loads its own

        return up
    if given.command in {"record", "replay"}:
        from mlxconsole.commands import recording  # noqa: PLC0415 - as above

        return recording.record if given.command == "record" else recording.replay
    if given.command == "chaos":
        from mlxconsole.commands.chaos import chaos  # noqa: PLC0415 - as above

        return chaos
    if given.command in {"down", "restart"}:
        from mlxconsole.commands import act  # noqa: PLC0415 - as above

        return act.down if given.command == "down" else act.restart
    prints = given.once or given.watch or given.json or given.plain
    if given.command in {"status", "check"} or prints:
        from mlxconsole.commands import observe  # noqa: PLC0415 - as above

        commands = {"status": observe.status, "check": observe.check}
        return commands.get(given.command, observe.watch if given.watch else observe.once)
    from mlxconsole.commands.console import console  # noqa: PLC0415 - textual, 0.3 s

    return console


def parser() -> argparse.ArgumentParser:
    """All flags."""
    top = Parser(
        prog="mlxconsole",
        description="Run one language model over several ranks; without a command: the console.",
    )
    top.add_argument("--version", action="version", version=f"mlxconsole {__version__}")
    times = top.add_mutually_exclusive_group()
    times.add_argument("--once", action="store_true", help="print one picture and leave")
    times.add_argument(
        "--watch", action="store_true", help="print one every second, or with --plain, changes"
    )
    top.add_argument(
        "--allow-actions",
        action="store_true",
        help="let the console act on a cluster that is not on this machine",
    )
    form = top.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a versioned document on one line")
    form.add_argument("--plain", action="store_true", help="sentences (default)")
    _add_target(top)
    commands = top.add_subparsers(
        dest="command", metavar="up | down | status | check | restart | record | replay | chaos"
    )
    _add_up(commands.add_parser("up", help="start a cluster on this machine"))
    down = commands.add_parser("down", help="end the cluster")
    down.add_argument("--timeout", type=float, default=DOWN_TIMEOUT_S, help=argparse.SUPPRESS)
    _add_target(down)
    _add_target(commands.add_parser("status", help="a table; exit code 0 when all is ready"))
    check = commands.add_parser("check", help="exit code 0 when an expression holds")
    check.add_argument("expression", metavar="EXPRESSION", help="as 'ready==2 and restarts<3'")
    _add_target(check)
    restart = commands.add_parser("restart", help="restart one rank's worker")
    restart.add_argument("rank", type=int, metavar="RANK")
    restart.add_argument("--generation", type=int, help="refuse if the rank is in another one")
    _add_target(restart)
    _add_recording(
        commands.add_parser("record", help="keep all that ranks say in a file"),
        commands.add_parser("replay", help="show a recording or a capsule in the console"),
    )
    _add_chaos(commands.add_parser("chaos", help="break a cluster of its own, check the answers"))
    return top


def _add_recording(record: argparse.ArgumentParser, replay: argparse.ArgumentParser) -> None:
    record.add_argument("file", type=Path, metavar="FILE", help="a new file")
    record.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    record.add_argument(
        "--limit-mb", type=int, default=RECORD_LIMIT_MB, metavar="MIB", help="stop at this size"
    )
    _add_target(record)
    replay.add_argument("file", type=Path, metavar="FILE", help="a recording or a capsule")
    replay.add_argument("--speed", type=float, default=1.0, help="times as fast (default 1)")
    replay.add_argument(
        "--at", type=float, default=0.0, metavar="SECONDS", help="begin there; -30: before the end"
    )
    # SUPPRESS: --json before the command counts, too.
    replay.add_argument("--json", action="store_true", default=argparse.SUPPRESS)


def _add_chaos(chaos: argparse.ArgumentParser) -> None:
    chaos.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    chaos.add_argument("--seed", type=int, default=0, help="of the choice of faults (default 0)")
    chaos.add_argument("--report", type=Path, metavar="FILE", help="write the report there too")
    chaos.add_argument("--ranks", type=int, default=2, help="of the cluster (default 2)")
    chaos.add_argument("--model", default="demo", help="demo (default), a folder, or a hub id")
    chaos.add_argument("--streams", type=int, default=8, help="at a time (default 8)")
    chaos.add_argument("--only", metavar="FAULT,...", help="these faults instead of all")


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--ranks", type=int, help="how many (default: those of --config, else 2)")
    up.add_argument("--model", help="demo (default), a folder, or a hub id")
    up.add_argument("--port", type=int, help="of the OpenAI endpoint (default 8100)")
    up.add_argument("--grpc-port", type=int, help="data port of rank 0 (default 50100)")
    up.add_argument("--control-port", type=int, help="control port of rank 0 (default 50200)")
    up.add_argument("--config", type=Path, metavar="FILE", help="a cluster.toml")
    up.add_argument(
        "--cpu-kernels", choices=("auto", "off"), help="our kernels on a CPU (default auto)"
    )
    up.add_argument(
        "--threads", type=int, metavar="N", help="of each rank on a CPU (default: share the cores)"
    )
    up.add_argument(
        "--pin", action="store_true", default=None, help="keep each rank to cores of its own"
    )
    up.add_argument("--detach", action="store_true", help="return when ready; no console")
    up.add_argument(
        "--timeout",
        type=float,
        default=START_TIMEOUT_S,
        metavar="SECONDS",
        help=f"give up if not ready by then (default {START_TIMEOUT_S:g})",
    )
    up.add_argument("--state-dir", type=Path, metavar="DIR", help="where this cluster lives")


def _add_target(command_parser: argparse.ArgumentParser) -> None:
    # SUPPRESS: a flag before the command must not be overwritten by the command's own default.
    is_top = command_parser.prog == "mlxconsole"
    default = None if is_top else argparse.SUPPRESS
    where = command_parser.add_mutually_exclusive_group()
    where.add_argument("--state-dir", type=Path, metavar="DIR", default=default)
    where.add_argument("--connect", metavar="HOST:CONTROL_PORT", default=default)


if __name__ == "__main__":
    sys.exit(main())
