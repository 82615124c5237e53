"""Starts what is measured: a cluster of our own, or `mlx_lm.server` as the peer. Blocking."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from daemon.comm.bench.world import free_ports
from daemon.errors import StartFailed
from daemon.settings import (
    ApiPart,
    ClusterPart,
    EnginePart,
    LimitsPart,
    RankPart,
    Settings,
)
from daemon.settings_check import check
from daemon.settings_text import to_toml

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 20.0
PEER_MODEL = "default_model"


@dataclass(frozen=True)
class Server:
    """Something that speaks the OpenAI protocol on loopback."""

    port: int
    model: str
    worker_pids: tuple[int, ...] = ()


@contextmanager
def own_cluster(
    model: str,
    ranks: int,
    cores: Sequence[int] = (),
    threads: int = 0,
    *,
    exact: bool = False,
) -> Generator[Server]:
    """A cluster on free ports in a folder of its own; rank r on ``cores[r]`` alone, if given.

    A rank on a core of its own computes with one thread, others with ``threads`` (0: their share).
    With ``exact``, sequences are not batched.

    Raises:
        StartFailed: it does not become ready.
    """
    api, *ports = free_ports(1 + 2 * ranks)
    settings = check(
        Settings(
            cluster=ClusterPart(name="bench", model=model),
            api=ApiPart(port=api),
            engine=EnginePart(threads=1 if cores else threads, exact=exact),
            # Their imports would share the first seconds with what is measured.
            limits=LimitsPart(warm_spare=False),
            ranks=tuple(RankPart("127.0.0.1", *ports[2 * r : 2 * r + 2]) for r in range(ranks)),
        )
    )
    with tempfile.TemporaryDirectory(prefix="mlxconsole-bench-") as folder:
        state = ["--state-dir", str(Path(folder) / "state")]
        config = Path(folder) / "cluster.toml"
        config.write_text(to_toml(settings), encoding="utf-8")
        try:
            _mlxconsole("up", "--detach", "--config", str(config), *state)
            document = json.loads(_mlxconsole("--once", "--json", *state))
            pids = tuple(rank["pid"] for rank in document["ranks"])
            for pid, core in zip(pids, cores, strict=False):
                pin(pid, core)
            yield Server(api, model_name(api), pids)
        finally:
            _mlxconsole("down", *state)


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core; where the system can't, do nothing."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in psutil.Process(pid).threads():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread.id, {core})


@contextmanager
def peer_server(folder: str) -> Generator[Server]:
    """`mlx_lm.server` with the same model.

    Raises:
        StartFailed: it does not answer.
    """
    [port] = free_ports(1)
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", folder, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait_for_port(port, process)
            yield Server(port, PEER_MODEL)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def model_name(port: int, host: str = "127.0.0.1") -> str:
    """What an endpoint calls its model.

    Raises:
        StartFailed: nobody answers there.
    """
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{host}:{port}/v1/models", timeout=10) as answer:
            return str(json.load(answer)["data"][0]["id"])
    except (OSError, ValueError, LookupError) as error:
        raise StartFailed(f"no OpenAI endpoint answers on {host}:{port}: {error}") from error


def _mlxconsole(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mlxconsole.cli", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise StartFailed(lines[-1].removeprefix("mlxconsole: "))
    return done.stdout


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise StartFailed(f"mlx_lm.server ended with exit code {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.1)
    raise StartFailed(f"mlx_lm.server does not listen after {START_TIMEOUT_S:g} s")
