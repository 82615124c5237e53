"""The `http` suite: what clients of the endpoint see, beside `mlx_lm.server` on the same model."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from daemon.errors import SettingsError, StartFailed
from mlxconsole.bench.bench_model import bench_model
from mlxconsole.bench.figures import Figure
from mlxconsole.bench.servers import model_name, own_cluster, peer_server
from mlxconsole.bench.streams import Measured, measure

if TYPE_CHECKING:
    from mlxconsole.bench.suites import Task

STREAMS = (1, 4, 16, 64)
QUICK_STREAMS = (1, 4)
TOKENS = 64
WARM_UP_TOKENS = 8
PEER = "mlx_lm.server"


def measure_suite(task: Task) -> list[Figure]:
    """Ours, and the peer unless the cluster is somebody's: then only its figures."""
    streams = QUICK_STREAMS if task.quick else STREAMS
    if task.url:
        host, port = address(task.url)
        return figures(_run(task, "ours", port, model_name(port, host), streams, host), {})
    model = task.model or str(bench_model(task.folder / "http-model"))
    task.tell("http: starting two ranks")
    with own_cluster(model, 2) as server:
        ours = _run(task, "ours", server.port, server.model, streams)
    return figures(ours, _peer(task, model, streams))


def _peer(task: Task, model: str, streams: tuple[int, ...]) -> dict[int, Measured]:
    """As far as it gets: at 64 streams it has reset connections."""
    found: dict[int, Measured] = {}
    try:
        task.tell(f"http: starting {PEER}")
        with peer_server(model) as server:
            for count in streams:
                found |= _run(task, PEER, server.port, server.model, (count,))
    except StartFailed as error:
        task.miss(f"http: {PEER}, after {list(found)} streams: {error}")
    return found


def address(url: str) -> tuple[str, int]:
    """Host and port of an endpoint's URL.

    Raises:
        SettingsError: it is no http URL with a port.
    """
    parts = None
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
    if not parts or parts.scheme != "http" or not parts.hostname:
        raise SettingsError(f"--url {url}: write http://HOST:PORT, as `mlxconsole up` says it")
    return parts.hostname, parts.port or 80


def _run(
    task: Task,
    who: str,
    port: int,
    model: str,
    streams: tuple[int, ...],
    host: str = "127.0.0.1",
) -> dict[int, Measured]:
    measure(port, model, 1, WARM_UP_TOKENS, host)
    found: dict[int, Measured] = {}
    for count in streams:
        found[count] = measure(port, model, count, TOKENS, host)
        task.tell(f"http: {who}, {count} streams: {found[count].tokens_per_s:.1f} tok/s")
    return found


def figures(ours: dict[int, Measured], peer: dict[int, Measured]) -> list[Figure]:
    """Per number of streams, ours beside the peer where it took part."""
    made: list[Figure] = []
    for name, unit, scale, better, key in (
        ("throughput", "tok/s", 1.0, "more", "tokens_per_s"),
        ("first token p50", "ms", 1e3, "less", "first_token_p50_s"),
        ("between tokens p50", "ms", 1e3, "less", "between_p50_s"),
        ("between tokens p99", "ms", 1e3, "less", "between_p99_s"),
    ):
        for streams, measured in ours.items():
            there = peer.get(streams)
            made.append(
                Figure(
                    "http",
                    f"{name}, {streams} stream{'s' if streams > 1 else ''}",
                    getattr(measured, key) * scale,
                    unit,
                    "more" if better == "more" else "less",
                    getattr(there, key) * scale if there else None,
                    PEER if there else "",
                    name,
                    streams,
                    "streams",
                )
            )
    return made
