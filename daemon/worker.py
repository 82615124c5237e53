"""The worker process of a rank: its links, its layers, and on rank 0 the engine.

Started by the supervisor as `python -m daemon.worker --spec JSON`. The main thread is the engine
thread: it loads, computes and samples. Links, gRPC and telemetry have threads of their own.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import logging
import os
import queue
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from daemon.comm.communicator import Communicator
from daemon.comm.settings import CommSettings
from daemon.cores import Cores
from daemon.engine import loop
from daemon.engine.follower import Follower
from daemon.engine.front import EngineFront, ServedModel
from daemon.engine.interfaces import CancelOrder, DrainOrder, Stop
from daemon.engine.leader import Leader
from daemon.engine.membership import Membership
from daemon.engine.meter import Meter
from daemon.engine.scheduler import Scheduler, SchedulerLimits
from daemon.engine.watchdog import Watchdog, WatchedShard
from daemon.engine_service import EngineService, handlers
from daemon.errors import ClusterError, ModelError, SettingsError
from daemon.memory_limits import rank_limit_bytes
from daemon.messages import Hello, Plan
from daemon.pipeline_wire import PipelineWire
from daemon.supervision.child_spec import (
    EXIT_HOPELESS,
    EXIT_STUCK,
    SPARE_FLAG,
    ChildSpec,
    wait_for_turn,
)
from daemon.telemetry import lifeline
from daemon.telemetry.reporter import Reporter, install_logging
from daemon.telemetry.sampler import Sampler
from daemon.worker_sample import WorkerSample, build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.execution.model_card import ModelCard

log = logging.getLogger(__name__)


class Worker:
    """Puts the parts of one rank together. All methods run on the engine thread."""

    def __init__(self, spec: ChildSpec, reporter: Reporter) -> None:
        self._spec = spec
        self._settings = spec.settings
        self._cores = Cores.of(spec.settings, spec.rank)
        self._cores.pin()  # before there are threads
        self._reporter = reporter
        self._inbox: loop.Inbox = queue.SimpleQueue()
        self._meter = Meter()
        self._front: EngineFront | None = None
        self._node: Leader | Follower | None = None
        services = [handlers(EngineService(lambda: self._front))] if spec.rank == 0 else []
        self._communicator = Communicator(self._comm_settings(), services=services)
        limits = self._settings.limits
        self._wire = PipelineWire(self._communicator, self._inbox, limits.peer_timeout_s + 2.0)
        self._sample = WorkerSample(self._meter, self._communicator, self._wire)
        self._sampler = Sampler(reporter, self._sample.take)
        self._watchdog: Watchdog | None = None

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._inbox.put(Stop())

    def obey(self, command: dict[str, Any]) -> None:
        """Take a command of the supervisor, on the lifeline's thread."""
        match command["do"]:
            case "trace":
                steps = self._meter.traced(int(command["sequence"]), int(command["most"]))
                self._reporter.answer(int(command["command"]), steps)
            case "drain" | "undrain" as order:
                self._inbox.put(DrainOrder(on=order == "drain"))
            case "cancel":
                self._inbox.put(CancelOrder(str(command["request_id"])))
            case other:
                log.warning("unknown_command", extra={"fields": {"do": str(other)[:40]}})

    def run(self) -> None:
        """Serve until `stop`.

        Raises:
            ModelError: this rank can't take part, and a restart would not help.
            ClusterError: it can't for now.
        """
        self._communicator.start()
        self._reporter.sample(build=build())
        self._sampler.start()
        try:
            self._node = self._sample.node = self._make_node()
            loop.run(self._node, self._inbox)
        finally:
            if self._watchdog is not None:
                self._watchdog.stop()
            self._sampler.stop()
            self._communicator.close()

    def _make_node(self) -> Leader | Follower:
        # Not before the links are up: reading mlx's libraries takes a while.
        from daemon.execution.card import inspect  # noqa: PLC0415
        from daemon.execution.free_cuts import cuts_are_free  # noqa: PLC0415
        from daemon.execution.source import model_path  # noqa: PLC0415
        from daemon.shard import LoadedShard  # noqa: PLC0415

        path = model_path(self._settings.cluster.model)
        engine = self._settings.engine
        kv_bits = engine.kv_bits
        card = inspect(path, kv_bits)
        threads = self._cores.threads if engine.cpu_kernels == "auto" else 0
        loaded = LoadedShard(path, self._reporter, threads, kv_bits, exact=engine.exact)
        self._sample.shard = loaded
        self._sample.kv_token_bytes = sum(card.kv_token_bytes)
        shard = WatchedShard(loaded)
        self._watchdog = Watchdog(shard, self._settings.limits.step_timeout_s, _end_stuck)
        self._watchdog.start()
        hello = self._make_hello(card, free_cuts=not threads and cuts_are_free(card, kv_bits))
        world_size = self._settings.world_size
        if self._spec.rank != 0:
            return Follower(hello, shard, self._wire, self._reporter, self._meter)
        leader = self._make_leader(hello, card, shard)
        served = ServedModel(
            self._settings.cluster.model,
            card.fingerprint,
            card.n_layers,
            card.vocab_size,
            card.max_context,
            world_size,
        )
        self._front = EngineFront(served, leader, self._inbox)
        return leader

    def _make_hello(self, card: ModelCard, *, free_cuts: bool) -> Hello:
        from daemon.execution.devices import bandwidth_of  # noqa: PLC0415
        from daemon.execution.memory import device_name, limit_bytes  # noqa: PLC0415

        ranks, rank = self._settings.ranks, self._spec.rank
        part, limit = ranks[rank], rank_limit_bytes(ranks, rank, limit_bytes())
        self._sample.memory_limit_bytes = limit
        return Hello(
            rank,
            self._spec.boot_id,
            card.fingerprint,
            limit,
            bandwidth_gb_s=part.bandwidth_gb_s or bandwidth_of(device_name()),
            free_cuts=free_cuts,
        )

    def _make_leader(self, hello: Hello, card: ModelCard, shard: WatchedShard) -> Leader:
        from daemon.kv_planning import kv_budget  # noqa: PLC0415
        from daemon.shard import make_plan  # noqa: PLC0415

        def plan(hellos: Mapping[int, Hello]) -> Plan:
            return make_plan(card, hellos, world_size)

        world_size, engine = self._settings.world_size, self._settings.engine
        scheduler = Scheduler(
            SchedulerLimits(
                depth=world_size,
                max_sequences=engine.max_sequences,
                max_queue=engine.max_queue,
                prefill_chunk=engine.prefill_chunk,
                prefill_cut=engine.prefill_cut,
                prefix_cache=engine.prefix_cache and card.kv_storable,
                needs_snapshots=not card.kv_cuttable,
            ),
            lambda plan, hellos: kv_budget(card, plan, hellos, self._settings),
        )
        return Leader(
            hello,
            Membership(world_size, plan),
            scheduler,
            shard,
            self._wire,
            self._reporter,
            self._meter,
            self._settings.limits,
        )

    def _comm_settings(self) -> CommSettings:
        return CommSettings(
            rank=self._spec.rank,
            addresses=tuple((part.host, part.port) for part in self._settings.ranks),
            cluster=self._settings.cluster.name,
            boot_id=self._spec.boot_id,
            peer_timeout_s=self._settings.limits.peer_timeout_s,
        )


def _end_stuck(reason: str) -> None:
    """End this process where it hangs: the supervisor keeps what is said here as the cause."""
    faulthandler.dump_traceback(all_threads=True)
    print(reason, file=sys.stderr, flush=True)  # noqa: T201 - captured by the supervisor
    os._exit(EXIT_STUCK)


def _wait_as_spare(spec: ChildSpec) -> ChildSpec:
    """Import what a worker of this model needs, then wait for the spec of this one's own life.

    The model's card is kept, and made anew if its files are others when the turn comes.
    """
    from daemon.execution.card import inspect  # noqa: PLC0415
    from daemon.execution.source import model_path  # noqa: PLC0415

    importlib.import_module("daemon.shard")
    if spec.settings.engine.cpu_kernels == "auto":
        from daemon.execution import kernels  # noqa: PLC0415

        kernels.warm_up()
    with suppress(ClusterError):
        inspect(model_path(spec.settings.cluster.model), spec.settings.engine.kv_bits)
    return wait_for_turn()


def main(argv: list[str] | None = None) -> int:
    """Run a worker; its exit status."""
    parser = argparse.ArgumentParser(prog="daemon.worker", description=__doc__, allow_abbrev=False)
    parser.add_argument("--spec", required=True, help="written by the supervisor")
    workers: list[Worker] = []  # commands come before there is one
    parser.add_argument(SPARE_FLAG, action="store_true", help="wait for another spec on stdin")
    arguments = parser.parse_args(argv)
    spec = ChildSpec.from_json(arguments.spec)
    lifeline.watch(spec.life_fd, lambda command: workers[0].obey(command) if workers else None)
    if arguments.spare:
        spec = _wait_as_spare(spec)
    reporter = Reporter(spec.report_fd, spec.boot_id)
    install_logging(reporter, spec.log_level)
    try:
        worker = Worker(spec, reporter)
        workers.append(worker)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()
    except (ModelError, SettingsError) as error:
        log.exception("worker_failed")
        reporter.state("FAILED", str(error))
        return EXIT_HOPELESS
    except ClusterError as error:  # it may pass: the supervisor shows this line and tries again
        print(error, file=sys.stderr)  # noqa: T201 - captured by the supervisor
        return 1
    finally:
        reporter.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
