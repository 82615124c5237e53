"""`mlxconsole` on ranks whose children are fakes: real supervisors, no model, ready in a moment.

As a program: `python -m tests.support.fake_ranks WORKER_BEHAVIOUR[,API_BEHAVIOUR] up ...`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlxconsole import cli
from mlxconsole.local import daemons

REPOSITORY = Path(__file__).parents[2]
TIMEOUT_S = 60


def command(behaviour: str, *arguments: str) -> list[str]:
    """The command line of such a `mlxconsole`."""
    return [sys.executable, "-m", "tests.support.fake_ranks", behaviour, *arguments]


def run(behaviour: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end, without a terminal."""
    return subprocess.run(
        command(behaviour, *arguments),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=False,
    )


def main() -> int:
    """`mlxconsole` whose daemons are those of the supervisors' tests."""
    behaviour, *arguments = sys.argv[1:]
    # The daemons run in the state folder.
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    harness = (sys.executable, "-m", "tests.unit.supervision.harness")
    worker, _, api = behaviour.partition(",")
    daemons.DAEMON_COMMAND = (*harness, worker, api or "obey")
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
