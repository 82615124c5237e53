"""When an epoch begins and ends, without any rank."""

from __future__ import annotations

import pytest

from daemon.engine.membership import Membership
from daemon.errors import ModelError
from daemon.messages import Assign, Hello, LinkState, Plan, Ready


def hello(rank: int, boot: str = "boot", epoch: int = 0, fingerprint: str = "f") -> Hello:
    """A rank's greeting."""
    return Hello(rank, f"{boot}-{rank}", fingerprint, 1, epoch)


def membership(world_size: int = 3) -> Membership:
    """Rank r gets layer r."""
    ranges = tuple((r, r + 1) for r in range(world_size))
    return Membership(world_size, lambda _: Plan("f", ranges))


def running(world_size: int = 3) -> Membership:
    """Everybody in and ready."""
    it = membership(world_size)
    orders = [it.hello(hello(rank)) for rank in range(world_size)]
    assert isinstance(orders[-1], Assign)
    for rank in range(world_size):
        it.ready(Ready(orders[-1].epoch, rank))
    assert it.running
    return it


def test_begins_when_the_last_rank_has_greeted() -> None:
    """Not earlier: the plan needs everybody's memory."""
    it = membership()
    assert it.hello(hello(0)) is None
    assert it.waiting_for == "waiting for ranks 1, 2 to join"
    assert it.hello(hello(2)) is None
    order = it.hello(hello(1))
    assert order is not None
    assert order.digest == order.plan.digest
    assert it.waiting_for == "waiting for ranks 0, 1, 2 to load"


def test_new_epoch_is_above_every_rank_s() -> None:
    """A restarted leader must not reuse an epoch whose frames may still be on their way."""
    it = membership(2)
    it.hello(hello(0))
    order = it.hello(hello(1, epoch=41))
    assert order is not None
    assert order.epoch == 42


def test_loss_ends_the_epoch_and_return_begins_the_next() -> None:
    """The survivors need not ask again."""
    it = running()
    assert it.lost(1)
    assert not it.running
    order = it.hello(hello(1, boot="second"))
    assert order is not None
    assert order.epoch == 2


def test_second_greeting_counts_as_a_loss() -> None:
    """A follower that lost us asks again, even if we have not noticed anything."""
    it = running()
    order = it.hello(hello(2))
    assert order is not None
    assert not it.running


def test_broken_link_between_others_blocks_until_it_is_back() -> None:
    """Rank 0 reaches both, and still no step can go through."""
    it = running()
    assert it.link(LinkState(1, 2, up=False)) == (True, None)
    assert it.waiting_for == "waiting for the link between rank 1 and rank 2"
    ended, order = it.link(LinkState(2, 1, up=True))
    assert not ended
    assert order is not None


def test_ready_of_an_old_epoch_is_ignored() -> None:
    """It speaks of caches that the rank has dropped since."""
    it = running(2)
    order = it.restart_epoch()
    assert order is not None
    it.ready(Ready(order.epoch - 1, 1))
    it.ready(Ready(order.epoch, 0))
    assert not it.running
    assert it.ready(Ready(order.epoch, 1))


def test_other_model_is_refused_by_name() -> None:
    """Two versions of a model in one pipeline would answer nonsense."""
    it = membership(2)
    it.hello(hello(0))
    with pytest.raises(ModelError, match="rank 1 has another version"):
        it.hello(hello(1, fingerprint="g"))
