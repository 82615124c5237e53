"""`up`: start a local cluster, then open the console or say how to use the endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import settings_text
from daemon.cores import Cores
from daemon.settings import CONTROL_PORT, DATA_PORT, local_ranks
from mlxconsole.commands.target import state_dir
from mlxconsole.commands.terminal_output import complain, say
from mlxconsole.local.progress import Progress
from mlxconsole.local.start import Start

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from daemon.settings import RankPart, Settings
    from mlxconsole.cluster import Cluster

DEFAULT_RANKS = 2
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MODELS_TIMEOUT_S = 5.0
INSIST_S = 0.5
"""How often a task that has swallowed its cancellation is cancelled again."""


def up(arguments: argparse.Namespace) -> int:
    """Start; 0 when the cluster is ready, 128 + signal number when interrupted."""
    settings = chosen_settings(arguments, os.environ)
    state = state_dir(arguments)
    down = f"{program(sys.argv[0])} down{state.flag}"
    start = Start(settings, state, Progress(sys.stderr), arguments.timeout)
    cluster, interrupted_by = asyncio.run(interruptible(start))
    if cluster is None:
        left = (
            "the ranks that ran before still run" if start.completes else "nothing is left running"
        )
        complain(f"interrupted by {interrupted_by.name}: {left}")
        return 128 + interrupted_by
    if not arguments.detach and sys.stdin.isatty() and sys.stdout.isatty():
        from mlxconsole.commands.console import watch  # noqa: PLC0415 - textual costs 0.3 s

        code = watch(cluster, state)
        say(f"The cluster still runs at {cluster.api_url}: `{down}` ends it")
        return code
    say(farewell(cluster, model_name(cluster), down))
    return 0


def chosen_settings(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """The settings of --config, the environment and the flags; the latter win.

    Raises:
        SettingsError: names file, line and key, variable or flag.
    """
    config: Path | None = arguments.config
    settings = settings_text.load(
        config,
        environ,
        ranks=_ranks(arguments, settings_text.parse(config) if config else None),
        cluster_model=_model(arguments.model),
        api_port=arguments.port,
        engine_cpu_kernels=arguments.cpu_kernels,
        engine_threads=arguments.threads,
        engine_pin=arguments.pin,
    )
    for rank in range(settings.world_size):
        Cores.of(settings, rank)  # better told here than by a worker
    return settings


def farewell(cluster: Cluster, model: str, down_command: str) -> str:
    """The endpoint, a line to try it with, and how to end it."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    curl = (
        f"curl {cluster.api_url}/v1/chat/completions -H 'Content-Type: application/json' "
        f"-d {shlex.quote(json.dumps(body))}"
    )
    return f"Ready: {cluster.api_url}/v1\nTry it: {curl}\nEnd it: {down_command}"


def model_name(cluster: Cluster) -> str:
    """What the endpoint calls its model."""
    with contextlib.suppress(OSError, ValueError, LookupError):
        url = f"{cluster.api_url}/v1/models"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=MODELS_TIMEOUT_S) as answer:
            return str(json.load(answer)["data"][0]["id"])
    return cluster.model


async def interruptible(start: Start) -> tuple[Cluster | None, signal.Signals]:
    """Run the start; on a signal, cancel it, which cleans up, and answer with the signal."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(start.run())
    caught: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        task.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await task, signal.SIGINT
    except asyncio.CancelledError:
        return None, caught[0] if caught else signal.SIGINT
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
        loop.call_later(INSIST_S, _insist, loop)


def _insist(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel again and again what outlives the start: `asyncio.run` waits for it without limit."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(INSIST_S, _insist, loop)


def _ranks(arguments: argparse.Namespace, file: Settings | None) -> tuple[RankPart, ...] | None:
    """Local ranks as the flags say; None where a file alone decides."""
    flags = (arguments.ranks, arguments.grpc_port, arguments.control_port)
    if file and all(flag is None for flag in flags):
        return None
    count, data_port, control_port = flags
    if count is None:
        count = file.world_size if file else DEFAULT_RANKS
    first = file.ranks[0] if file else None
    if data_port is None:
        data_port = first.port if first else DATA_PORT
    if control_port is None:
        control_port = first.control_port if first else CONTROL_PORT
    return local_ranks(count, data_port, control_port)


def _model(model: str | None) -> str | None:
    """A folder as an absolute path: daemons run elsewhere. Anything else as it is."""
    if model is None or model == "demo" or not Path(model).expanduser().exists():
        return model
    return str(Path(model).expanduser().absolute())


def program(invoked_as: str) -> str:
    """How this command can be called from the operator's shell: by name only if that finds it."""
    path = Path(invoked_as)
    by_name = shutil.which("mlxconsole")
    if path.name != "mlxconsole" or (by_name and Path(by_name).resolve() == path.resolve()):
        return "mlxconsole"
    return shlex.quote(invoked_as)
