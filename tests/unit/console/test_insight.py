"""From the store to a judgement: what is said when requests wait and nothing comes."""

from __future__ import annotations

from mlxconsole import insight
from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.store import Store


def stalled(requests: int) -> Store:
    """Three ranks: one is down, one can't be reached, and so many requests wait."""
    store = Store(seeded.cluster(3), clock=lambda: 100.0)
    first = seeded.status(0, 3)
    first.sequences, first.queue_depth = min(requests, 1), max(0, requests - 1)
    store.apply(FrameArrived(0, seeded.frame(first), 100.0))
    store.apply(FrameArrived(1, seeded.frame(seeded.down(1, 3, "exit code 1")), 100.0))
    store.apply(ContactLost(2, "connection refused", 100.0))
    return store


def test_whoever_waits_is_told_for_whom() -> None:
    """Nothing runs, but the cluster is not idle."""
    found = insight.why(stalled(requests=3))
    assert found.kind == "idle"
    assert found.sentences == (
        "No token comes, and 3 requests wait: rank 1 is DOWN, rank 2 does not answer.",
    )
    assert "1 request waits" in insight.why(stalled(requests=1)).sentences[0]


def test_an_idle_cluster_waits_for_nobody() -> None:
    """It is only that nobody asks."""
    assert "Nothing runs" in insight.why(stalled(requests=0)).sentences[0]
