"""What telemetry is told of a link: round trips, bytes, how far large messages are."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from daemon.comm.bulk import BulkReceiver, BulkSender, announcement
from daemon.comm.communicator import Communicator
from daemon.comm.frames import HEADER_BYTES, Kind, unpack_header
from daemon.comm.lane import Lane
from daemon.comm.link_stats import RoundTrips
from daemon.comm.settings import CommSettings
from tests.unit.comm.test_communicator import free_addresses
from tests.unit.comm.test_link import FakeStream

WAIT_S = 10.0


def test_percentiles_are_of_answered_probes_only() -> None:
    """A probe whose answer comes after the next probe left says nothing sharp: it is left out."""
    trips = RoundTrips()
    assert trips.percentile(50) is None
    for number in range(100):
        probe = trips.begin(float(number * 10))
        trips.end(probe, number * 10 + (number + 1) / 100)
        trips.end(probe, number * 10 + 5.0)  # a repeated answer
    late = trips.begin(2000.0)
    trips.end(trips.begin(2001.0) - 1, 2009.0)
    assert late
    assert trips.percentile(50) == pytest.approx(0.5)
    assert trips.percentile(99) == pytest.approx(0.99)


def test_a_probe_is_answered_with_its_number() -> None:
    """Any other acknowledgement must not be taken for the answer."""
    lane = Lane(threading.RLock(), heartbeat_s=100.0)
    stream = FakeStream()
    lane.stream, stream.ready = stream, True
    with lane.work:
        lane.answer(7)
        lane.acknowledge_soon(ask=True)
    writer = threading.Thread(target=lane.run, args=(lambda: 0.01, lambda: None))
    writer.start()
    limit = time.monotonic() + WAIT_S
    while len(stream.frames) < 2 and time.monotonic() < limit:
        time.sleep(0.001)
    with lane.work:
        lane.close()
    writer.join()
    heads = [unpack_header(frame)[:2] for frame in stream.frames]
    assert heads == [(Kind.ACK, 7), (Kind.ACK_NOW, 1)]


def test_progress_of_a_large_message_at_both_ends() -> None:
    """Half of it acknowledged, half of it filled in, then all of it and nothing is under way."""
    sender, got = BulkSender(), []
    receiver = BulkReceiver(0, got.append, 2**30)
    lane = Lane(threading.RLock(), 0.0, lambda: sender.feed(lane))
    transfer = sender.add([bytes(1024 * 1024)], 1024 * 1024)
    receiver.announce(5, memoryview(announcement(transfer, mlx=False)))
    assert sender.progress() == receiver.progress() == (0, 1024 * 1024)
    for done in (512 * 1024, 1024 * 1024):
        entry: Any = sender.feed(lane)
        complete = receiver.fill(entry.tag, bytes(HEADER_BYTES) + b"".join(entry.parts))
        assert receiver.progress() == (done, 1024 * 1024)
        sender.acknowledged(lane.outbox.acknowledge(entry.sequence))
        if not complete:
            assert sender.progress() == (done, 1024 * 1024)
    receiver.complete(transfer.number)
    assert sender.progress() == receiver.progress() == (0, 0)
    assert len(got[0].payload) == 1024 * 1024


def test_a_link_reports_bytes_and_round_trips() -> None:
    """What a table of links shows, from two real ends."""
    addresses = free_addresses(2)
    ranks = [Communicator(CommSettings(rank, addresses, heartbeat_s=0.05)) for rank in range(2)]
    try:
        for rank in ranks:
            rank.start()
        ranks[0].send(1, bytes(1_000_000))
        assert len(ranks[1].recv(0, timeout_s=WAIT_S)) == 1_000_000
        limit = time.monotonic() + WAIT_S
        while ranks[0].link_stats()[1].rtt_p50_s is None and time.monotonic() < limit:
            time.sleep(0.01)
        sent, received = ranks[0].link_stats()[1], ranks[1].link_stats()[0]
        assert (sent.state, sent.interruptions) == ("up", 0)
        assert 1_000_000 < sent.bytes_sent < 1_010_000
        assert 1_000_000 < received.bytes_received < 1_010_000
        assert sent.rtt_p50_s is not None
        assert sent.rtt_p99_s is not None
        assert 0 < sent.rtt_p50_s <= sent.rtt_p99_s < 5
    finally:
        closing = [threading.Thread(target=rank.close) for rank in ranks]
        for each in closing:
            each.start()
        for each in closing:
            each.join()
