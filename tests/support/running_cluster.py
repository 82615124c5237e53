"""A real cluster on loopback, started and ended by the installed command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.ports import free_block, free_ports

if TYPE_CHECKING:
    from pathlib import Path

UP_TIMEOUT_S = 90


def mlxconsole(
    *arguments: str, timeout_s: float = UP_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run the installed command without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "mlxconsole.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@dataclass
class RunningCluster:
    """Where a started cluster is."""

    state_dir: Path
    model: str
    ranks: int
    api_port: int
    data_port: int
    control_port: int

    @property
    def base_url(self) -> str:
        """What an OpenAI client is pointed at."""
        return f"http://127.0.0.1:{self.api_port}/v1"

    @property
    def ports(self) -> list[int]:
        """Every port that it listens on."""
        data = [self.data_port + r for r in range(self.ranks)]
        return [self.api_port, *data, *[self.control_port + r for r in range(self.ranks)]]

    def once(self) -> dict[str, Any]:
        """What `mlxconsole --once --json` says."""
        done = mlxconsole("--once", "--json", "--state-dir", str(self.state_dir))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def down(self) -> subprocess.CompletedProcess[str]:
        """End it."""
        return mlxconsole("down", "--state-dir", str(self.state_dir))


def start_cluster(
    state_dir: Path, *, ranks: int = 2, model: str = "demo", options: tuple[str, ...] = ()
) -> RunningCluster:
    """Start a cluster on free ports and wait until it is ready."""
    [api_port] = free_ports(1)
    block = free_block(2 * ranks)
    cluster = RunningCluster(state_dir, model, ranks, api_port, block, block + ranks)
    done = mlxconsole(
        "up",
        "--detach",
        *("--ranks", str(ranks)),
        *("--model", model),
        *("--port", str(api_port)),
        *("--grpc-port", str(block)),
        *("--control-port", str(block + ranks)),
        *("--state-dir", str(state_dir)),
        *options,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return cluster
