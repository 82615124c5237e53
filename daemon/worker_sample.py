"""What a worker tells about itself four times a second, by the names of control.proto.

Runs on the sampler's thread; reads attributes only. The whole must cost less than 0.5 % of the
rank's time: tables are bounded, and a long one is sent less often.
"""

from __future__ import annotations

import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from daemon.engine.leader import Leader

if TYPE_CHECKING:
    from collections.abc import Sequence as Rows

    from daemon.comm.communicator import Communicator
    from daemon.engine.follower import Follower
    from daemon.engine.meter import Meter
    from daemon.engine.sequences import Sequence
    from daemon.pipeline_wire import PipelineWire
    from daemon.shard import LoadedShard

MOST_ROWS = 256
MANY_ROWS = 64
MANY_EVERY_S = 1.0
"""Longer tables are sent once a second."""
LINKS_EVERY_S = 1.0
"""Rank 0 of 64 has 63 of them, and their percentiles take a sort each."""
PACKAGES = ("mlx", "mlx-lm", "grpcio")


class WorkerSample:
    """Takes the samples of one worker."""

    def __init__(self, meter: Meter, communicator: Communicator, wire: PipelineWire) -> None:
        self._meter = meter
        self._communicator = communicator
        self._wire = wire
        self._began_s = time.monotonic()
        self._table_at_s = self._links_at_s = 0.0
        self.kv_token_bytes = 0
        """Of all layers, for one token."""
        self.memory_limit_bytes = 0
        """What the rank may use; 0 until that is known."""
        self.shard: LoadedShard | None = None
        self.node: Leader | Follower | None = None

    def take(self) -> dict[str, Any]:
        """The sections of one sample; see `Reporter.sample`."""
        now_s = time.monotonic()
        meter, serialise_s = self._meter, self._wire.serialise_s
        sample: dict[str, Any] = {
            "counters": {
                **meter.counters(),
                **self._communicator.counters(),
                "serialise_s": serialise_s,
                "wall_s": now_s - self._began_s,
            },
            "histograms": {"stage_times": meter.stage_times.counts},
            "last_step": meter.last_step,
            # A step may have ended since `now_s`: an age below 0 would spoil the whole sample.
            "last_step_age_s": max(0.0, now_s - meter.last_step_at_s)
            if meter.last_step_at_s
            else 0,
            "batch": meter.batch,
        }
        if now_s - self._links_at_s >= LINKS_EVERY_S:
            self._links_at_s = now_s
            sample["links"] = _links(self._communicator)
        if self.shard is not None:
            capacity = self.node.kv_capacity_bytes if self.node else 0
            sample |= _of_shard(self.shard, capacity)
            sample["memory"]["limit_bytes"] = self.memory_limit_bytes
        if self.node is not None:
            sample["epoch"] = self.node.epoch
            sample["drained"] = int(self.node.drained)
        if isinstance(self.node, Leader):
            sample |= self._of_leader(self.node, now_s)
        return sample

    def _of_leader(self, leader: Leader, now_s: float) -> dict[str, Any]:
        meter = self._meter
        sample: dict[str, Any] = {
            "queue_depth": leader.queue_depth,
            "sequences": leader.sequences,
            "in_flight": leader.in_flight,
            "histograms": {
                "stage_times": meter.stage_times.counts,
                "step_times": meter.step_times.counts,
                "first_token_times": meter.first_token_times.counts,
            },
        }
        requests = leader.requests()
        if len(requests) <= MANY_ROWS or now_s - self._table_at_s >= MANY_EVERY_S:
            self._table_at_s = now_s
            rows = [self._row(request, now_s) for request in requests[:MOST_ROWS]]
            sample["requests"] = {"rows": rows, "total": len(requests)}
        return sample

    def _row(self, request: Sequence, now_s: float) -> Rows[Any]:
        """In the order of control.proto's RequestStatus."""
        generated, first_s = len(request.generated), request.first_token_at_s
        after_first = max(generated - 1, 0)
        prefilling = request.remaining_prefill > 0
        state = "waiting" if not request.sequence_id else "prefill" if prefilling else "decode"
        return (
            request.request_id,
            state,
            round(now_s - request.submitted_at_s, 3),
            len(request.prompt),
            generated,
            request.max_tokens,
            round(first_s - request.submitted_at_s, 4) if first_s else 0,
            round((request.last_token_at_s - first_s) / after_first, 5) if after_first else 0,
            request.fed * self.kv_token_bytes,
            request.cached_tokens or 0,
            request.client,
            request.sequence_id,
        )


def _links(communicator: Communicator) -> list[dict[str, Any]]:
    stats = communicator.link_stats()
    return [{"peer": peer, **asdict(link)} for peer, link in stats.items() if link.bytes_sent]


def _of_shard(shard: LoadedShard, kv_capacity_bytes: int) -> dict[str, Any]:
    from daemon.execution.memory import memory  # noqa: PLC0415 - mlx takes a while to load

    sections: dict[str, Any] = {
        "memory": {
            **memory(),
            "weights_bytes": shard.weights_bytes,
            "kv_bytes": shard.kv_bytes,
            "kv_capacity_bytes": kv_capacity_bytes,
            "prefix_bytes": shard.prefix_bytes,
        },
        "layers": list(shard.layers),
    }
    if shard.progress is not None:
        sections["progress"] = asdict(shard.progress)
    return sections


def build() -> str:
    """What runs here, for the inspector."""
    parts = [f"Python {platform.python_version()}", platform.machine()]
    for name in PACKAGES:
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # MLX under another name, as on Linux with CUDA
            continue
    return ", ".join(parts)
