"""Taking ranks out of work: no request fails, whatever the memory allows."""

from __future__ import annotations

from daemon.engine.interfaces import CancelOrder, DrainOrder
from daemon.errors import CancelledByOperator
from tests.support.fake_cluster import FakeCluster, expected


def drain(cluster: FakeCluster, rank: int, *, on: bool = True) -> None:
    """What the supervisor of ``rank`` tells its worker."""
    cluster.ranks[rank].inbox.append(DrainOrder(on))


def test_others_take_the_layers_of_a_rank_that_drains() -> None:
    """In mid-answer: the text is the undisturbed one, and the rank runs no step any more."""
    cluster = FakeCluster(3)
    cluster.settle()
    cluster.submit("a", (1, 2, 3), 20)
    for _ in range(25):
        cluster.step()
    drain(cluster, 1)
    cluster.settle()
    assert cluster.texts["a"] == expected((1, 2, 3), 20)
    assert cluster.ranks[1].node.drained
    assert cluster.ranks[1].notes.states[-1][0] == "DRAINING"
    steps = cluster.meters[1].steps
    cluster.submit("b", (4,), 5)
    cluster.settle()
    assert cluster.texts["b"] == expected((4,), 5)
    assert cluster.meters[1].steps == steps


def test_an_undrained_rank_takes_its_layers_back() -> None:
    """Without reading them again: it has kept them."""
    cluster = FakeCluster(3)
    cluster.settle()
    loads = len(cluster.ranks[1].shard.loads)
    drain(cluster, 1)
    cluster.settle()
    drain(cluster, 1, on=False)
    cluster.settle()
    assert not cluster.ranks[1].node.drained
    assert cluster.ranks[1].notes.states[-1][0] == "READY"
    assert len(cluster.ranks[1].shard.loads) == loads
    cluster.submit("a", (1, 2), 5)
    cluster.settle()
    assert cluster.texts["a"] == expected((1, 2), 5)
    assert cluster.meters[1].steps > 0


def test_a_restart_after_a_drain_disturbs_nobody() -> None:
    """Its end is no loss for the others; the new worker takes its layers again."""
    cluster = FakeCluster(2)
    cluster.settle()
    cluster.submit("a", (1, 2, 3), 30)
    drain(cluster, 1)
    for _ in range(30):
        cluster.step()
    epoch = cluster.leader.epoch
    cluster.kill(1)
    for _ in range(10):
        cluster.step()
    assert cluster.leader.epoch == epoch
    cluster.boot(1)
    cluster.settle()
    assert cluster.texts["a"] == expected((1, 2, 3), 30)
    cluster.submit("b", (9,), 5)
    cluster.settle()
    assert cluster.meters[1].steps > 0
    assert not cluster.ranks[1].node.drained


def test_without_room_elsewhere_new_requests_wait_and_live_ones_end() -> None:
    """The layers can't move: honest, and still without an error."""
    cluster = FakeCluster(2)
    cluster.fewest = 2
    cluster.settle()
    cluster.submit("a", (1, 2, 3), 20)
    for _ in range(12):
        cluster.step()
    drain(cluster, 1)
    for _ in range(4):
        cluster.step()
    cluster.submit("b", (4, 5), 5)
    cluster.settle()
    cluster.leader.tick()
    cluster.settle()
    assert cluster.texts["a"] == expected((1, 2, 3), 20)
    assert cluster.texts["b"] == []
    assert cluster.ranks[1].node.drained
    cluster.kill(1)
    cluster.boot(1)
    cluster.settle()
    assert cluster.texts["b"] == expected((4, 5), 5)


def test_rank_0_ends_what_it_has_and_begins_nothing() -> None:
    """It decides for all, so nobody can take its place."""
    cluster = FakeCluster(2)
    cluster.settle()
    drain(cluster, 0)
    cluster.submit("a", (1, 2), 5)
    cluster.settle()
    cluster.leader.tick()
    assert cluster.leader.drained
    assert cluster.ranks[0].notes.states[-1][0] == "DRAINING"
    assert cluster.texts["a"] == []
    drain(cluster, 0, on=False)
    cluster.settle()
    assert cluster.texts["a"] == expected((1, 2), 5)
    assert cluster.ranks[0].notes.states[-1][0] == "READY"


def test_a_cancelled_request_ends_with_a_word_and_alone() -> None:
    """All choices of one request by its id, none of the others."""
    cluster = FakeCluster(2)
    cluster.settle()
    for name in ("req_1/0", "req_1/1", "req_2/0"):
        cluster.submit(name, (1, 2), 20)
    for _ in range(15):
        cluster.step()
    cluster.ranks[0].inbox.append(CancelOrder("req_1"))
    cluster.ranks[0].inbox.append(CancelOrder("req_9"))
    cluster.settle()
    assert cluster.texts["req_2/0"] == expected((1, 2), 20)
    assert {type(cluster.ends[n]) for n in ("req_1/0", "req_1/1")} == {CancelledByOperator}
    events = [text for kind, text in cluster.ranks[0].notes.events if kind == "cancel"]
    assert events == [
        "req_1: 2 cancelled by the operator",
        "req_9: none cancelled by the operator",
    ]
