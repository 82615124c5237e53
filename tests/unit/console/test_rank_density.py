"""64 ranks on one screen: all of them, the worst first, in words or in one column each."""

from __future__ import annotations

from mlxconsole.source import seeded
from mlxconsole.source.base import ContactLost, FrameArrived
from mlxconsole.store import Store
from mlxconsole.ui.rank_density import columns, four_up, worst_first

RANKS = 64


def troubled() -> Store:
    """Rank 40 is down, 7 lost, 21 loads, 50 is full."""
    store = Store(seeded.cluster(RANKS), clock=lambda: 10.0)
    for rank in range(RANKS):
        made = seeded.status(rank, RANKS)
        if rank == 40:
            made = seeded.down(rank, RANKS, "killed by signal 9")
        if rank == 21:
            made = seeded.loading(rank, RANKS, 0)
        if rank == 50:
            made.memory.limit_bytes = made.memory.mlx_active_bytes
        store.apply(FrameArrived(rank, seeded.frame(made), 9.0))
    store.apply(ContactLost(7, "no route", 10.0))
    return store


def test_those_that_need_somebody_come_first() -> None:
    """Lost and down, then what is on its way, then the fullest."""
    ranks = [view.member.rank for view in worst_first(list(troubled().ranks.values()))]
    assert set(ranks[:2]) == {7, 40}
    assert ranks[2:4] == [21, 50]
    assert sorted(ranks) == list(range(RANKS))


def test_four_ranks_share_a_line() -> None:
    """Word and glyph, whatever the width."""
    views = list(troubled().ranks.values())
    for width in (80, 120, 200):
        lines = four_up(views, width, 10.0)
        assert len(lines) == RANKS // 4
        texts = ["".join(text for text, _ in line) for line in lines]
        assert all(len(text) <= width for text in texts)
        assert " x " in texts[0]
        assert {tone for line in lines for _, tone in line} == {"bad", "dim", "busy", "good"}


def test_each_rank_has_its_column() -> None:
    """On 200 columns one band holds all; on 80 they go on below."""
    views = list(troubled().ranks.values())
    wide = columns(views, 200, 10.0)
    assert len(wide) == 5
    assert wide[0][0] == ("RANK  ", "title")
    narrow = columns(views, 80, 10.0)
    assert len(narrow) == 3 * 6 - 1
    for lines, width in ((wide, 200), (narrow, 80)):
        for line in lines:
            assert len("".join(text for text, _ in line)) <= width
    numbers = [
        text.strip()
        for line in narrow
        if line and line[0][0].startswith("RANK")
        for text, _ in line[1:]
    ]
    assert sorted(map(int, numbers)) == list(range(RANKS))
