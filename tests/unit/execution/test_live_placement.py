"""What a running cluster makes of the ranks' greetings."""

from __future__ import annotations

from daemon.messages import Hello
from daemon.shard import make_plan
from tests.unit.execution.test_placement import GIB, QWEN3_1_7B


def hello(rank: int, bandwidth_gb_s: float) -> Hello:
    """A rank with plenty of memory."""
    return Hello(rank, f"boot-{rank}", "f", 64 * GIB, bandwidth_gb_s=bandwidth_gb_s)


def test_known_speeds_decide_the_shares() -> None:
    """An M4 beside an M4 Max: the small one is not what all wait for."""
    slow, fast = make_plan(QWEN3_1_7B, {0: hello(0, 120), 1: hello(1, 546)}, 2).ranges
    assert slow == (0, 6)
    assert fast == (6, 28)


def test_one_unknown_speed_makes_all_equal() -> None:
    """A guess for one would be worse than none."""
    plan = make_plan(QWEN3_1_7B, {0: hello(0, 0), 1: hello(1, 546)}, 2)
    assert plan == make_plan(QWEN3_1_7B, {0: hello(0, 0), 1: hello(1, 0)}, 2)


def test_an_absent_rank_gets_no_layers() -> None:
    """The others carry them."""
    plan = make_plan(QWEN3_1_7B, {0: hello(0, 0), 2: hello(2, 0)}, 3)
    assert plan.ranges[1] == (0, 0)
    assert (plan.ranges[0][0], plan.ranges[2][1]) == (0, 28)
