"""Measures the endpoint against `mlx_lm.server` with the same model: `python -m daemon.api.bench`.

Owns starting both servers (each alone, one after the other, in every run) and the table of ratios.
The cluster is started by the installed command, so that what is measured is what users run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from daemon.api.bench_load import LoadResult, run_load
from daemon.errors import PortInUse
from daemon.ports import check_free

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

START_LIMIT_S = 120.0
FIGURES = {
    "tokens/s": ("tokens_per_s", 1),
    "TTFT p50, ms": ("ttft_p50_s", 1000),
    "TTFT p95, ms": ("ttft_p95_s", 1000),
    "inter-token p99, ms": ("gap_p99_s", 1000),
}
"""Field of `LoadResult`, and what it is multiplied with."""


@contextmanager
def our_cluster(model: str, ranks: int) -> Generator[tuple[int, int]]:
    """A cluster of this machine; its HTTP port, and the process id of its API."""
    port, data, control = _free_ports(1), _free_ports(ranks), _free_ports(ranks)
    with tempfile.TemporaryDirectory() as folder:
        state = ["--state-dir", folder]
        command = [sys.executable, "-m", "mlxconsole.cli"]
        ports = ["--port", port, "--grpc-port", data, "--control-port", control]
        up = [*command, "up", "--detach", "--model", model, "--ranks", ranks, *ports, *state]
        # The imports of spares would share the first seconds with what is measured.
        environ = os.environ | {"MLXCONSOLE_LIMITS_WARM_SPARE": "false"}
        words = [str(word) for word in up]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environ)
        try:
            yield port, _api_process(port)
        finally:
            subprocess.run([*command, "down", *state], check=False, stdout=subprocess.DEVNULL)


@contextmanager
def mlx_lm_server(model: str) -> Generator[int]:
    """mlx-lm's own server; its port."""
    port = _free_ports(1)
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", model, "--port", str(port)]
    with subprocess.Popen(
        [*command, "--log-level", "ERROR"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server)
            yield port
        finally:
            server.terminate()


def _free_ports(count: int) -> int:
    """First of ``count`` ports in a row, below those of outgoing connections."""
    while True:
        first = random.randrange(11_000, 30_000)  # noqa: S311 - a port, no secret
        try:
            for port in range(first, first + count):
                check_free("127.0.0.1", port, "the benchmark")
        except PortInUse:
            continue
        return first


def _endless(model: str) -> dict[str, int]:
    """A bias that keeps a model from ending its answer, so that all answers are of one length."""
    ends = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    return {str(token): -100 for token in (ends if isinstance(ends, list) else [ends])}


def _api_process(port: int) -> int:
    """Who listens there; connections that have just ended have no process."""
    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return next(int(c.pid) for c in listening if c.pid and c.laddr and c.laddr.port == port)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own, on loopback
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"mlx_lm.server does not answer at {url}")


def measure(
    options: argparse.Namespace, body: dict[str, Any], clients: int
) -> tuple[LoadResult, LoadResult, float]:
    """Ours, theirs, and seconds of CPU that our API process took per token."""
    load: dict[str, Any] = {"clients": clients, "requests": options.requests}
    with our_cluster(options.model, options.ranks) as (port, pid):
        named = body | {"model": _served(port)}
        asyncio.run(run_load(port, named, clients=clients, requests=1))
        before = sum(psutil.Process(pid).cpu_times()[:2])
        ours = asyncio.run(run_load(port, named, **load))
        cpu_s = sum(psutil.Process(pid).cpu_times()[:2]) - before
    with mlx_lm_server(options.model) as port:
        named = body | {"model": options.model}
        asyncio.run(run_load(port, named, clients=clients, requests=1))
        theirs = asyncio.run(run_load(port, named, **load))
    return ours, theirs, cpu_s / ours.tokens


def _served(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=10) as answer:
        return str(json.load(answer)["data"][0]["id"])


def table(clients: int, runs: Sequence[tuple[LoadResult, LoadResult, float]]) -> str:
    """Markdown: medians over the runs, and the median of the runs' ratios."""
    lines = [
        f"\n{clients} client{'s' if clients > 1 else ''}, medians of {len(runs)} runs\n",
        "| figure | ours | mlx_lm.server | ratio |",
        "|---|---|---|---|",
    ]
    for name, (field, scale) in FIGURES.items():
        pairs = [(getattr(o, field) * scale, getattr(t, field) * scale) for o, t, _ in runs]
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(o / t for o, t in pairs)
        lines.append(f"| {name} | {ours:.4g} | {theirs:.4g} | {ratio:.2f} |")
    cpu_us = statistics.median(cpu_s for *_, cpu_s in runs) * 1e6
    lines.append(f"| API process, us of CPU per token | {cpu_us:.0f} | - | - |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, and print a table for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    default = str(Path(__file__).parent.parent / "demo" / "model")
    parser.add_argument("--model", default=default, help="a folder (default: the demo model)")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--requests", type=int, default=3, help="of each client")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": "Count from 1 to 30, please."}],
        "max_tokens": options.tokens,
        "temperature": 0,
        "logit_bias": _endless(options.model),
    }
    for clients in options.clients:
        runs = [measure(options, body, clients) for _ in range(options.runs)]
        sys.stdout.write(table(clients, runs) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
