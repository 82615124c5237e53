"""The processes of one contestant, and what can be asked of them."""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 60


@dataclass(frozen=True)
class Figure:
    """What is measured, in how many blocks of how many repetitions."""

    title: str
    action: str
    size: int
    blocks: int
    count: int
    unit: str = "us"
    only_ours: bool = False
    pairs_only: bool = True


def free_ports(count: int) -> list[int]:
    """Ports on loopback that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class World:
    """The processes of one contestant."""

    def __init__(self, contestant: str, size: int, folder: Path) -> None:
        ports = free_ports(size)
        hostfile = folder / f"{contestant}.json"
        hostfile.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in ports]))
        self._ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "daemon.comm.bench.rank", contestant, str(rank)]
                + [str(port) for port in ports],
                env=os.environ | {"MLX_RANK": str(rank), "MLX_HOSTFILE": str(hostfile)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for rank in range(size)
        ]

    def run(self, figure: Figure) -> list[float]:
        """Seconds of each repetition; empty if the contestant does not work here."""
        try:
            for rank in self._ranks:
                assert rank.stdin is not None  # noqa: S101 - a pipe, see above
                rank.stdin.write(f"{figure.action} {figure.size} {figure.count}\n")
                rank.stdin.flush()
        except BrokenPipeError:
            return []
        answer = self._ranks[0].stdout
        assert answer is not None  # noqa: S101 - a pipe, see above
        with selectors.DefaultSelector() as selector:
            selector.register(answer, selectors.EVENT_READ)
            line = answer.readline() if selector.select(TIMEOUT_S) else ""
        return json.loads(line) if line else []

    def close(self) -> None:
        """Leave no process behind."""
        for rank in self._ranks:
            if rank.stdin is not None and rank.poll() is None:
                rank.stdin.close()
        for rank in self._ranks:
            try:
                rank.wait(10)
            except subprocess.TimeoutExpired:
                rank.kill()
                rank.wait()
            if rank.stdout is not None:
                rank.stdout.close()
