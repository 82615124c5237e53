"""Why slow: names the right rank or link, and promises only what the move would give."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mlxconsole.why_slow import RankPace, best_move, diagnose


def pace(rank: int, layers: int, compute_ms: float, busy: float, hop_ms: float = 0.3) -> RankPace:
    """A rank."""
    return RankPace(rank, layers, compute_ms / 1000, busy, hop_s=hop_ms / 1000, layer_bytes=50)


def test_nothing_runs() -> None:
    """An idle cluster is not slow."""
    assert diagnose([], 0.0, 0).kind == "idle"
    assert diagnose([pace(0, 4, 1, 0.5)], 0.0, 1).kind == "idle"


def test_a_busy_rank_sets_the_pace_and_gives_layers_away() -> None:
    """3 ms a layer here, 1 ms there: 20 layers would be balanced at 5 to 15."""
    slow, fast = pace(0, 10, 30, 0.97), pace(1, 10, 10, 0.32)
    found = diagnose([slow, fast], 100.0, 2)
    assert (found.kind, found.culprit) == ("rank", 0)
    assert found.move is not None
    assert (found.move.giver, found.move.taker, found.move.layers) == (0, 1, 5)
    # The slowest rank needs 15 ms instead of 30; a round of 40.6 ms with two steps in it 20.3,
    # and after the move 15.3: the model takes whichever is longer.
    assert 180 < found.move.tokens_per_s <= 200
    assert "Rank 0 sets the pace" in found.sentences[0]
    assert "5 layers from rank 0 to rank 1" in found.sentences[-1]


def test_a_link_that_takes_less_than_the_ranks_compute_is_not_to_blame() -> None:
    """On one machine half a round trip is mostly waiting for a core."""
    found = diagnose([pace(0, 4, 6.3, 0.4, 5.1), pace(1, 4, 6.5, 0.4, 5.1)], 100.0, 1)
    assert found.kind == "round trip"
    assert not any("link from" in sentence for sentence in found.sentences)


def test_a_slow_link_is_named_with_both_ends() -> None:
    """Ranks that wait for the network are not to blame."""
    paces = [pace(0, 4, 2, 0.1, 0.2), pace(1, 4, 2, 0.1, 25.0), pace(2, 4, 2, 0.1, 0.2)]
    found = diagnose(paces, 30.0, 1)
    assert (found.kind, found.culprit) == ("link", 1)
    assert "from rank 1 to rank 2" in found.sentences[0]
    assert found.move is None


def test_one_request_goes_round_and_the_slowest_part_is_named() -> None:
    """No rank is full with a single stream, and still one of them takes most of the round."""
    found = diagnose([pace(0, 4, 20, 0.6), pace(1, 4, 5, 0.2)], 40.0, 1)
    assert (found.kind, found.culprit) == ("rank", 0)
    assert any("With 2 requests" in sentence for sentence in found.sentences)
    even = diagnose([pace(0, 4, 5, 0.5), pace(1, 4, 5, 0.5)], 90.0, 1)
    assert (even.kind, even.culprit) == ("round trip", None)
    assert even.move is None


def test_a_full_taker_takes_nothing() -> None:
    """A move that does not fit into the other's memory is no advice."""
    slow, fast = pace(0, 10, 30, 0.97), pace(1, 10, 10, 0.32)
    assert best_move([slow, replace(fast, room_bytes=49)], 100.0, 2) is None
    some = best_move([slow, replace(fast, room_bytes=150)], 100.0, 2)
    assert some is not None
    assert some.layers == 3


def test_one_rank_has_nobody_to_give_to() -> None:
    """The sentence still says how busy it is."""
    found = diagnose([pace(0, 28, 30, 0.7)], 30.0, 1)
    assert found.move is None
    assert "70%" in found.sentences[0]


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.floats(0.1, 80), st.floats(0.05, 1), st.floats(0, 5)),
        min_size=2,
        max_size=6,
    ),
    st.integers(1, 8),
)
def test_a_move_is_from_the_slowest_and_worth_it(
    ranks: list[tuple[int, float, float, float]], in_flight: int
) -> None:
    """It takes from the slowest, leaves it a layer, and is worth the restart."""
    paces = [pace(number, *figures) for number, figures in enumerate(ranks)]
    move = best_move(paces, 50.0, in_flight)
    if move is not None:
        giver = paces[move.giver]
        assert move.tokens_per_s > 52.5
        assert 0 < move.layers < giver.layers
        assert giver.compute_s == max(p.compute_s for p in paces)
