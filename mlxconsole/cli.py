"""The `mlxconsole` command: reads flags, runs one command, turns errors into one line.

The only place that exits. Heavy imports stay in the commands that need them.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from daemon import __version__
from daemon.errors import ClusterError
from mlxconsole.commands.terminal_output import complain, reader_may_leave

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

USAGE_ERROR = 2
START_TIMEOUT_S = 600.0
RANK_ACTIONS = {
    "restart": "restart one rank's worker",
    "drain": "take a rank out of work",
    "undrain": "let it work again",
    "kill": "end a rank's worker at once; it starts again",
}
DOWN_TIMEOUT_S = 15.0
RECORD_LIMIT_MB = 1024
WHY_S = 4.0
CAPSULE_MINUTES = 10.0
THEMES = ("dark", "light", "colour-blind")

COMMANDS = {
    "up": ("up", "up"),
    "down": ("act", "down"),
    "status": ("observe", "status"),
    "check": ("observe", "check"),
    "why": ("why", "why"),
    **dict.fromkeys(RANK_ACTIONS, ("act", "act")),
    "cancel": ("act", "cancel"),
    "record": ("recording", "record"),
    "capsule": ("recording", "capsule"),
    "replay": ("recording", "replay"),
    "plan": ("plan", "plan"),
    "bench": ("bench", "bench"),
    "chaos": ("chaos", "chaos"),
}
"""Module of `mlxconsole.commands` and function in it. Each command loads only its own."""


class Parser(argparse.ArgumentParser):
    """Complains in one line instead of a page, and takes whole flags only.

    `up --rank 2` is a mistake to tell, not two ranks. Each command's parser is one of these, too.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Exit with what was wrong and where to read on."""
        complain(f"{message}: see `{self.prog} --help`")
        raise SystemExit(USAGE_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    given = parser().parse_args(arguments)
    try:
        with reader_may_leave():
            return command(given)(given)
    except ClusterError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0  # the reader of our output has what it wanted


def command(given: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """The function that the flags ask for."""
    prints = given.once or given.watch or given.json or given.plain
    if given.command:
        module, function = COMMANDS[given.command]
    elif prints:
        module, function = "observe", "watch" if given.watch else "once"
    else:
        module, function = "console", "console"
    return getattr(importlib.import_module(f"mlxconsole.commands.{module}"), function)


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
    top.add_argument("--alerts", type=Path, metavar="FILE", help="bounds of the console's alerts")
    top.add_argument(
        "--theme", choices=THEMES, help="colours of the console; ctrl-t goes through them"
    )
    top.add_argument("--ascii", action="store_true", help="draw the console in ASCII only")
    form = top.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a versioned document on one line")
    form.add_argument("--plain", action="store_true", help="sentences (default)")
    _add_target(top)
    commands = top.add_subparsers(
        dest="command",
        metavar="up | down | status | check | why | restart | drain | ... | plan | bench | chaos",
    )
    _add_up(commands.add_parser("up", help="start a cluster on this machine"))
    down = commands.add_parser("down", help="end the cluster")
    down.add_argument("--timeout", type=float, default=DOWN_TIMEOUT_S, help=argparse.SUPPRESS)
    _add_target(down)
    _add_target(commands.add_parser("status", help="a table; exit code 0 when all is ready"))
    check = commands.add_parser("check", help="exit code 0 when an expression holds")
    check.add_argument("expression", metavar="EXPRESSION", help="as 'ready==2 and restarts<3'")
    _add_target(check)
    for name, text in RANK_ACTIONS.items():
        _add_action(commands.add_parser(name, help=text), name)
    cancel = commands.add_parser("cancel", help="end one request")
    cancel.add_argument("request", metavar="REQUEST_ID")
    _add_generation(cancel)
    _add_recording(
        commands.add_parser("record", help="keep all that ranks say in a file"),
        commands.add_parser("capsule", help="the last minutes of all ranks as one file"),
        commands.add_parser("replay", help="show a recording or a capsule in the console"),
    )
    _add_plan(commands.add_parser("plan", help="who would hold what, before anybody loads it"))
    _add_bench(commands.add_parser("bench", help="measure, beside peers and limits"))
    why = commands.add_parser("why", help="what makes the cluster slow, and what would help")
    why.add_argument("--seconds", type=float, default=WHY_S, help=f"to watch (default {WHY_S:g})")
    why.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    _add_target(why)
    _add_chaos(commands.add_parser("chaos", help="break a cluster of its own, check the answers"))
    return top


def _add_recording(
    record: argparse.ArgumentParser,
    capsule: argparse.ArgumentParser,
    replay: argparse.ArgumentParser,
) -> None:
    record.add_argument("file", type=Path, metavar="FILE", help="a new file")
    record.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    record.add_argument(
        "--limit-mb", type=int, default=RECORD_LIMIT_MB, metavar="MIB", help="stop at this size"
    )
    _add_target(record)
    capsule.add_argument(
        "--minutes",
        type=float,
        default=CAPSULE_MINUTES,
        metavar="N",
        help=f"how far back (default {CAPSULE_MINUTES:g}), as far as ranks still know",
    )
    capsule.add_argument(
        "--folder", type=Path, default=Path(), help="where it goes (default: here)"
    )
    _add_target(capsule)
    replay.add_argument("file", type=Path, metavar="FILE", help="a recording or a capsule")
    replay.add_argument("--speed", type=float, default=1.0, help="times as fast (default 1)")
    replay.add_argument(
        "--at", type=float, default=0.0, metavar="SECONDS", help="begin there; -30: before the end"
    )
    # SUPPRESS: --json before the command counts, too.
    replay.add_argument("--json", action="store_true", default=argparse.SUPPRESS)


def _add_plan(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("--model", required=True, help="demo, a folder, or a hub id")
    plan.add_argument(
        "--devices",
        type=Path,
        required=True,
        metavar="FILE",
        help="a devices.toml: see launch/devices.sample.toml",
    )
    plan.add_argument("--context", type=int, metavar="TOKENS", help="of each stream (default 4096)")
    plan.add_argument("--streams", type=int, default=1, help="that must fit at once (default 1)")
    # SUPPRESS: --json before the command counts, too.
    plan.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one versioned document"
    )


def _add_bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("--list", action="store_true", help="the suites and what they measure")
    bench.add_argument("--only", metavar="SUITE,...", help="these suites instead of all")
    bench.add_argument("--quick", action="store_true", help="fewer repetitions, fewer sizes")
    bench.add_argument("--model", help="demo, a folder, or a hub id (default: a random small one)")
    bench.add_argument("--url", metavar="URL", help="measure this endpoint instead of an own one")
    bench.add_argument("--out", type=Path, metavar="DIR", help="write JSON, table and plots there")
    bench.add_argument(
        "--compare", type=Path, metavar="FILE", help="ratios to the JSON of an earlier run"
    )


def _add_action(action: argparse.ArgumentParser, name: str) -> None:
    action.add_argument("rank", type=int, metavar="RANK")
    if name == "restart":
        text = "drain first, for so long at most"
        action.add_argument("--drain", type=float, default=0.0, metavar="SECONDS", help=text)
    _add_generation(action)


def _add_generation(action: argparse.ArgumentParser) -> None:
    action.add_argument("--generation", type=int, help="refuse if the rank is in another one")
    _add_target(action)


def _add_chaos(chaos: argparse.ArgumentParser) -> None:
    chaos.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    chaos.add_argument("--seed", type=int, default=0, help="of the choice of faults (default 0)")
    chaos.add_argument("--report", type=Path, metavar="FILE", help="write the report there too")
    chaos.add_argument("--ranks", type=int, default=2, help="of the cluster (default 2)")
    chaos.add_argument("--model", default="demo", help="demo (default), a folder, or a hub id")
    chaos.add_argument("--streams", type=int, default=8, help="at a time (default 8)")
    chaos.add_argument("--only", metavar="FAULT,...", help="these faults instead of all")
    text = "let all run undisturbed for so long before each fault (default 0)"
    chaos.add_argument("--calm", type=float, default=0.0, metavar="SECONDS", help=text)


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
