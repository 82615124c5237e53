"""A made-up cluster whose every figure follows from a seed: for pictures and tests.

Pure: builds frames, sends nothing.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from mlxconsole.cluster import Cluster, Member
from protos.control_pb2 import (
    ApiStatus,
    Counters,
    LogLine,
    Memory,
    Progress,
    RankState,
    RankStatus,
    WatchFrame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
MODEL = "mlx-community/Qwen3-1.7B-8bit"
LAYERS = 28
START_TIME_S = 1_767_225_600.0  # a new year, so that pictures don't change with the day


def cluster(ranks: int) -> Cluster:
    """``ranks`` ranks on loopback, on the usual ports."""
    members = tuple(Member(r, "127.0.0.1", 50100 + r, 50200 + r) for r in range(ranks))
    return Cluster("lab", MODEL, "http://127.0.0.1:8100", members)


def status(rank: int, ranks: int, seed: int = 0) -> RankStatus:
    """A rank at work; later fields may be overwritten by the caller."""
    random = Random(seed * 1000 + rank)  # noqa: S311 - a picture, no secret
    lo, hi = LAYERS * rank // ranks, LAYERS * (rank + 1) // ranks
    weights = (hi - lo) * 51 * MIB + (315 * MIB if rank in {0, ranks - 1} else 0)
    kv = random.randrange(20, 60) * MIB
    made = RankStatus(
        rank=rank,
        world_size=ranks,
        state=RankState.READY,
        host="127.0.0.1",
        port=50100 + rank,
        control_port=50200 + rank,
        worker_pid=4100 + 10 * rank,
        supervisor_pid=4000 + 10 * rank,
        layer_lo=lo,
        layer_hi=hi,
        generation=1,
        uptime_s=61_000 + random.randrange(200),
        memory=Memory(
            mlx_active_bytes=weights + kv,
            mlx_cache_bytes=random.randrange(5, 30) * MIB,
            mlx_peak_bytes=weights + kv + random.randrange(80) * MIB,
            weights_bytes=weights,
            kv_bytes=kv,
            rss_bytes=weights + kv + 160 * MIB,
            limit_bytes=16 * 1024 * MIB,
        ),
        counters=Counters(steps=10_000, tokens_in=80_000, tokens_out=40_000, compute_s=52_000.0),
        boot_id=f"boot-{rank}",
        model=MODEL,
        epoch=1,
        sequences=3,
    )
    if rank == 0:
        api = ApiStatus(url="http://127.0.0.1:8100", pid=4321, state=RankState.READY)
        made.api.CopyFrom(api)
    return made


def loading(rank: int, ranks: int, done: int) -> RankStatus:
    """A rank that is reading its layers."""
    made = status(rank, ranks)
    total = made.layer_hi - made.layer_lo
    made.state = RankState.LOADING
    made.progress.CopyFrom(Progress(layers_done=done, layers_total=total))
    made.ClearField("memory")
    made.ClearField("counters")
    made.uptime_s = 2.0
    return made


def down(rank: int, ranks: int, cause: str) -> RankStatus:
    """A rank whose worker has died."""
    made = status(rank, ranks)
    made.state = RankState.DOWN
    made.worker_pid = 0
    made.exit_cause = cause
    return made


def frame(made: RankStatus | None, *lines: LogLine) -> WatchFrame:
    """A frame with this status, if any, and these lines."""
    return WatchFrame(status=made, logs=lines)


def log_lines(rank: int, count: int, seed: int = 0) -> Iterator[LogLine]:
    """Lines as a rank at work writes them."""
    random = Random(seed * 7919 + rank)  # noqa: S311 - a picture, no secret
    kinds = (
        ("INFO", "sequence_opened", '{"sequence": %d, "prompt": 210}'),
        ("INFO", "sequence_closed", '{"sequence": %d, "reason": "stop"}'),
        ("DEBUG", "chunk_done", '{"sequence": %d, "tokens": 256}'),
        ("WARNING", "link_slow", '{"sequence": %d, "p99_ms": 3.1}'),
    )
    for number in range(count):
        level, event, fields = random.choices(kinds, weights=(6, 6, 3, 1))[0]
        yield LogLine(
            time_s=START_TIME_S + number * 1.7 + rank * 0.3,
            level=level,
            source="worker",
            event=event,
            fields_json=fields % random.randrange(100, 200),
            sequence=number,
        )
