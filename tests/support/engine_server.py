"""Rank 0's engine behind its real gRPC service, with a shard that only adds numbers."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

from daemon.engine import loop
from daemon.engine.front import EngineFront, ServedModel
from daemon.engine.interfaces import Stop
from daemon.engine_service import EngineService, handlers
from tests.support.fake_cluster import VOCABULARY, FakeCluster

CONTEXT = 100_000


class EngineServer:
    """One worker's life; another one may follow on the same port."""

    def __init__(self, port: int = 0, *, gate: threading.Event | None = None) -> None:
        self.cluster = FakeCluster(1)
        self._inbox: loop.Inbox = queue.SimpleQueue()
        model = ServedModel("adding", "fingerprint", 4, VOCABULARY, CONTEXT, 1)
        front = EngineFront(model, self.cluster.leader, self._inbox)
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((handlers(EngineService(lambda: front)),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._gate = gate
        if gate is not None:
            self._hold_steps(gate)
        self._thread = threading.Thread(
            target=loop.run, args=(self.cluster.leader, self._inbox), daemon=True
        )
        self._thread.start()
        self._server.start()

    async def wait_until_free(self, timeout_s: float = 5.0) -> None:
        """Return when no sequence is left on the stage."""
        async with asyncio.timeout(timeout_s):
            while self.sequences_held:  # noqa: ASYNC110 - another thread's state
                await asyncio.sleep(0.01)

    def _hold_steps(self, gate: threading.Event) -> None:
        """Let a step run only while the test allows it."""
        shard = self.cluster.ranks[0].shard
        run = shard.run

        def gated(step: object, hidden: object) -> object:
            assert gate.wait(10)
            return run(step, hidden)  # type: ignore[arg-type]

        shard.run = gated  # type: ignore[method-assign,assignment]

    @property
    def sequences_held(self) -> int:
        """Sequences on the stage."""
        return len(self.cluster.ranks[0].shard.held)

    def stop(self) -> None:
        """Die as a process does: streams break at once."""
        if self._gate is not None:
            self._gate.set()
        self._server.stop(grace=None).wait(5)
        self._inbox.put(Stop())
        self._thread.join(5)
