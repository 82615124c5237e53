"""A store in which a seeded cluster has worked for two minutes, if told so with a fault at the end.

Pure: for pictures, snapshots and tests of views. Its clock stands still.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from daemon.histogram import BUCKETS
from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.store import Store
from protos.control_pb2 import (
    Event,
    LinkStatus,
    LogLine,
    RankState,
    RankStatus,
    RequestStatus,
    RequestTable,
    WatchFrame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 120
SLOW_RANK = 3
"""It computes half as long again as the others: what page Why is about."""
STEPS_PER_S = 28
STEP_BUCKET = 58
CAUSE = "killed by signal 9 (SIGKILL)"


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        """Unix time."""
        return seeded.START_TIME_S + self.now_s


def store(ranks: int, *, fault: bool = False, seconds: int = SECONDS) -> Store:
    """The store after ``seconds``; with ``fault`` a rank died 4 s and another was lost 2 s ago."""
    clock = _Clock()
    made = Store(seeded.cluster(ranks), clock, clock.wall_s)
    working = [seeded.status(rank, ranks) for rank in range(ranks)]
    lines = [_lines(rank, seconds) for rank in range(ranks)]
    dead, gone = (ranks // 2, ranks - 1) if fault and ranks > 1 else (-1, -1)
    for second in range(seconds + 1):
        clock.now_s = float(second)
        for rank, status in enumerate(working):
            if rank == gone and second > seconds - 2:
                made.apply(ContactLost(rank, "no route to host", clock.now_s))
                continue
            is_dead = rank == dead and second > seconds - 4
            frame = _frame(status, second, lines[rank])
            if is_dead:
                _die(frame, second, seconds)
            if rank == 0:
                frame.requests.CopyFrom(_requests(second))
            made.apply(FrameArrived(rank, frame, clock.now_s))
        made.timeline.record(made)
    return made


def _frame(status: RankStatus, second: int, lines: Iterator[LogLine]) -> WatchFrame:
    random = Random(second * 1000 + status.rank)  # noqa: S311 - a picture, no secret
    steps = STEPS_PER_S + random.randrange(-3, 4) if (second + 30) % 60 > 6 else 0
    slow = 1.5 if status.rank == SLOW_RANK else 1.0
    compute_s = min(steps * 0.022 * slow, 0.97)
    counters = status.counters
    counters.steps += steps
    counters.tokens_out += 15 * steps
    counters.tokens_in += random.randrange(40) * (steps > 0)
    counters.compute_s += compute_s
    counters.wait_s += max(0.0, 0.96 - compute_s) if steps else 0.0
    counters.send_s += 0.0004 * steps
    counters.serialise_s += 0.0002 * steps
    counters.wall_s += 1.0
    status.uptime_s += 1.0
    if status.rank == 0:
        _count_steps(status, steps)
    status.last_step, status.in_flight, status.batch = counters.steps, 8, 15
    status.memory.kv_bytes += random.randrange(200_000)
    status.ClearField("links")
    if status.world_size > 1:
        status.links.append(_link(status, random))
    frame = WatchFrame(status=status, time_s=seeded.START_TIME_S + second)
    while (line := next(lines, None)) is not None:
        frame.logs.append(line)
        if line.time_s >= seeded.START_TIME_S + second:
            break
    return frame


def _count_steps(status: RankStatus, steps: int) -> None:
    """Each took about a quarter of a second from rank 0 to its result."""
    counts = list(status.step_times.counts) or [0] * BUCKETS
    counts[STEP_BUCKET] += steps
    del status.step_times.counts[:]
    status.step_times.counts.extend(counts)


def _link(status: RankStatus, random: Random) -> LinkStatus:
    return LinkStatus(
        peer=(status.rank + 1) % status.world_size,
        state="up",
        bytes_sent=status.counters.steps * 62_000,
        bytes_received=status.counters.steps * 900,
        rtt_p50_s=0.00028 + 0.00001 * random.randrange(9),
        rtt_p99_s=0.0009 + 0.00005 * random.randrange(9),
    )


def _lines(rank: int, seconds: int) -> Iterator[LogLine]:
    for number, line in enumerate(seeded.log_lines(rank, seconds)):
        line.time_s = seeded.START_TIME_S + number * 1.7 + rank * 0.3
        yield line


def _die(frame: WatchFrame, second: int, seconds: int) -> None:
    status = frame.status
    status.state, status.worker_pid, status.exit_cause = RankState.DOWN, 0, CAUSE
    del frame.logs[:]
    if second == seconds - 3:
        event = Event(time_s=frame.time_s, kind="exit", text=f"worker 1 {CAUSE}", sequence=1)
        frame.events.append(event)


def _requests(second: int) -> RequestTable:
    random = Random(7)  # noqa: S311 - a picture, no secret
    rows: list[RequestStatus] = []
    for number in range(15):
        prompt, most, age_s = random.randrange(40, 3000), 1024, 3 + 2 * number + second % 5
        done = min(most - 1, 14 * age_s)
        rows.append(
            RequestStatus(
                id=f"req_{random.randrange(16**8):08x}",
                state="decode" if number < 14 else "prefill",
                age_s=age_s,
                prompt_tokens=prompt,
                generated_tokens=done if number < 14 else 0,
                max_tokens=most,
                first_token_s=0.2 + number / 40 if number < 14 else 0.0,
                token_s=0.035 if number < 14 else 0.0,
                kv_bytes=(prompt + done) * 114_688,
                cached_tokens=prompt // 3 if number % 3 == 0 else 0,
                client=f"10.0.0.{11 + number % 4}",
                sequence=number + 1,
            )
        )
    return RequestTable(rows=rows, total=len(rows))
