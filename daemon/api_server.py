"""The API process: started by rank 0's supervisor as `python -m daemon.api_server --spec JSON`.

The composition root: puts engine client, text model and HTTP app together. One event loop in the
main thread; the tokenizer loads in a thread of its own while the socket is already listening.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from daemon.api.app import make_app
from daemon.api.context import ApiContext
from daemon.api.serve import bind, serve
from daemon.client.engine import EngineClient
from daemon.errors import ClusterError
from daemon.settings import url_host
from daemon.supervision.child_spec import EXIT_HOPELESS, SPARE_FLAG, ChildSpec, wait_for_turn
from daemon.telemetry import lifeline
from daemon.telemetry.reporter import Reporter, install_logging

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from daemon.text.model import TextModel

log = logging.getLogger(__name__)

GRACE_SHARE = 0.6
"""Of the supervisor's patience after SIGTERM; the rest is for closing what is left."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="daemon.api_server", allow_abbrev=False)
    parser.add_argument("--spec", required=True, help="written by the supervisor")
    parser.add_argument(SPARE_FLAG, action="store_true", help="wait for another spec on stdin")
    flags = parser.parse_args(arguments)
    spec = ChildSpec.from_json(flags.spec)
    lifeline.watch(spec.life_fd)
    if flags.spare:
        spec = _wait_as_spare(spec)
    reporter = Reporter(spec.report_fd, spec.boot_id)
    install_logging(reporter, spec.log_level)
    try:
        listener = bind(spec.settings.api.host, spec.settings.api.port)
        reporter.state("LOADING")
        asyncio.run(_run(spec, listener, reporter))
    except ClusterError as error:
        reporter.state("FAILED", str(error))
        return EXIT_HOPELESS
    finally:
        reporter.close()
    return 0


def _wait_as_spare(spec: ChildSpec) -> ChildSpec:
    """Import what the text of this model needs, then wait for the spec of this one's own life.

    Nothing is kept of the model: its files may be others when the turn comes.
    """
    with suppress(ClusterError):  # says why when the turn comes
        _load_text(spec.settings.cluster.model)
    return wait_for_turn()


async def _run(spec: ChildSpec, listener: socket.socket, reporter: Reporter) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.set_exception_handler(_on_loop_error)
    settings = spec.settings
    engine = EngineClient(url_host(settings.ranks[0].host), settings.ranks[0].port)
    context = ApiContext(settings, engine, lambda: _load_text(settings.cluster.model))
    context.start().add_done_callback(lambda loading: _report_loaded(loading, reporter))
    try:
        await serve(
            make_app(context),
            listener,
            stopping.wait,
            grace_s=settings.limits.shutdown_grace_s * GRACE_SHARE,
            last_call=context.last_call,
        )
    finally:
        context.close()
        await engine.close()


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Python 3.11 reports every connection that is cut at the end of the grace as an error.
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def _load_text(model: str) -> TextModel:
    # Seconds of imports, while the socket is already listening.
    from daemon.execution.source import model_path  # noqa: PLC0415
    from daemon.text.loader import load_text_model  # noqa: PLC0415

    return load_text_model(model_path(model))


def _report_loaded(loading: asyncio.Future[TextModel], reporter: Reporter) -> None:
    if loading.cancelled():
        return
    error = loading.exception()
    if error is None:
        reporter.state("READY")
        return
    log.error("tokenizer_failed", exc_info=error)
    reporter.state("FAILED", str(error))


if __name__ == "__main__":
    sys.exit(main())
