"""What a rank counts about its steps, on the real engine over queues."""

from __future__ import annotations

import time

from daemon.engine.meter import COUNTERS, TRACED_STEPS, Meter
from daemon.messages import Row, Step
from protos import control_pb2
from tests.support.fake_cluster import FakeCluster


def test_counters_are_named_as_in_the_protocol() -> None:
    """The supervisor drops what control.proto does not know."""
    assert set(COUNTERS) <= set(control_pb2.Counters.DESCRIPTOR.fields_by_name)


def test_every_rank_counts_the_same_tokens_and_steps() -> None:
    """The cluster's speed is read off any rank."""
    cluster = FakeCluster(3)
    cluster.settle()
    cluster.submit("a", (1, 2, 3, 4, 5, 6), 10)
    cluster.settle()
    meters = [cluster.meters[rank] for rank in range(3)]
    assert {m.tokens_out for m in meters} == {10}
    assert {m.tokens_in for m in meters} == {5}
    assert len({m.steps for m in meters}) == 1
    assert sum(meters[0].step_times.counts) == 10
    assert sum(meters[0].first_token_times.counts) == 1
    assert sum(meters[1].step_times.counts) == 0


def test_a_trace_shows_a_sequence_on_every_rank() -> None:
    """Waterfall: arrived, began, ended, sent, in this order, in unix time."""
    cluster = FakeCluster(2)
    cluster.settle()
    first = cluster.submit("a", (1, 2, 3), 4)
    cluster.submit("b", (4, 5), 4)
    cluster.settle()
    for rank in range(2):
        steps = cluster.meters[rank].traced(first.sequence_id, 100)
        assert len(steps) == 4
        for _, _, arrived_s, began_s, ended_s, sent_s, _, sequences in steps:
            assert began_s <= ended_s <= sent_s
            assert abs(time.time() - sent_s) < 60
            assert rank or arrived_s <= began_s
            assert first.sequence_id in sequences
        assert len(cluster.meters[rank].traced(first.sequence_id, 2)) == 2
    assert len(cluster.meters[0].traced(0, 100)) >= 4


def test_the_trace_is_bounded() -> None:
    """A rank that runs for months keeps the last minute."""
    meter = Meter()
    for number in range(TRACED_STEPS + 10):
        step = Step(1, number, rows=(Row(1, (5,), sample=True),))
        meter.step_ran(step, time.monotonic())
        meter.step_sent(step, 0.0)
    assert len(meter.trace) == TRACED_STEPS
    assert meter.traced(0, 1)[0][0] == TRACED_STEPS + 9


def test_a_step_without_rows_leaves_no_trace_and_no_time() -> None:
    """A probe right after a long pause must not count the pause as sending."""
    meter = Meter()
    step = Step(1, 1, rows=(Row(1, (5,), sample=True),))
    meter.step_ran(step, time.monotonic())
    meter.step_sent(step, 0.0)
    sent_s = meter.send_s
    time.sleep(0.01)
    meter.step_sent(Step(1, 2), 0.0)
    assert meter.send_s == sent_s
    assert len(meter.trace) == 1
