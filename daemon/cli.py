"""`mlx-daemon`: starts one rank's supervisor, or checks what this machine can run.

Owns flags, exit codes and the files of the state folder. Imports what a command needs when it
runs: `mlx-daemon --version` loads neither gRPC nor mlx.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from daemon import __version__
from daemon.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.supervision.supervisor import ChildCommands

EXIT_USAGE = 2
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class _Parser(argparse.ArgumentParser):
    """Errors on one line; whole flags only: a slip is no other flag's abbreviation."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with exit code 2."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None, commands: ChildCommands | None = None) -> int:
    """Run the command; the exit code.

    Args:
        argv: the arguments, those of the process by default.
        commands: other programs as children, for tests.
    """
    # Until the supervisor takes signals there is nothing to clean up: end quietly.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == ["selfcheck"]:
            return _selfcheck(_selfcheck_parser().parse_args(arguments[1:]))
        return _supervise(_parser().parse_args(arguments), commands)
    except ClusterError as error:
        sys.stderr.write(f"mlx-daemon: {error}\n")
        return EXIT_USAGE


def _parser() -> _Parser:
    parser = _Parser(
        prog="mlx-daemon",
        description="Supervise one rank of a cluster: its worker and, on rank 0, the API.",
        epilog="mlx-daemon selfcheck [--model PATH | --all-architectures]: see if this machine "
        "computes what it should.",
    )
    parser.add_argument("--version", action="version", version=f"mlx-daemon {__version__}")
    parser.add_argument("--rank", type=int, required=True, metavar="N", help="from 0")
    parser.add_argument("--config", type=Path, metavar="FILE", help="cluster.toml of all ranks")
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="for rank-N.pid and rank-N.log"
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="INFO")
    parser.add_argument("--cpu-kernels", choices=("auto", "off"), help="our kernels on a CPU")
    parser.add_argument("--threads", type=int, metavar="N", help="on a CPU; 0: share the cores")
    parser.add_argument("--pin", action="store_true", default=None, help="to cores of its own")
    return parser


def _selfcheck_parser() -> _Parser:
    parser = _Parser(
        prog="mlx-daemon selfcheck",
        description="Cut models into stages and compare with the whole, on this machine.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", metavar="PATH", help="demo, a folder or a hub id")
    what.add_argument("--all-architectures", action="store_true")
    return parser


def _selfcheck(flags: argparse.Namespace) -> int:
    from daemon.execution import selfcheck  # noqa: PLC0415  imports mlx, which takes seconds

    return selfcheck.run(flags.model, all_architectures=flags.all_architectures)


def _supervise(flags: argparse.Namespace, commands: ChildCommands | None) -> int:
    from daemon import settings_text  # noqa: PLC0415
    from daemon.supervision.state_folder import StateFolder  # noqa: PLC0415
    from daemon.supervision.supervisor import Supervisor  # noqa: PLC0415  imports gRPC

    loaded = settings_text.load(
        flags.config,
        os.environ,
        engine_cpu_kernels=flags.cpu_kernels,
        engine_threads=flags.threads,
        engine_pin=flags.pin,
    )
    supervisor = Supervisor(flags.rank, loaded, commands=commands, log_level=flags.log_level)
    with StateFolder(flags.state_dir, flags.rank) as state:
        supervisor.history.sink = state.log
        asyncio.run(supervisor.run(state.claim))
    return 0


if __name__ == "__main__":
    sys.exit(main())
