"""Units, columns, keys, waits: the small pure parts of what an operator reads."""

from __future__ import annotations

import io

import pytest

from mlxconsole.local.progress import Progress
from mlxconsole.source import seeded
from mlxconsole.source.backoff import Backoff
from mlxconsole.source.base import ContactLost
from mlxconsole.store import Store
from mlxconsole.ui import rank_columns
from mlxconsole.units import duration, rate, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "--"), (0, "0B"), (999, "999B"), (1024, "1.0K"), (2**20 * 831, "831M"),
     (2**30 * 1.2, "1.2G"), (2**30 * 141, "141G"), (2**50, "1024T")],
)  # fmt: skip
def test_sizes_are_short(count: float | None, text: str) -> None:
    """They share a line with nine others."""
    assert size(count) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(None, "--"), (0, "0.0"), (3.14, "3.1"), (412.2, "412"), (12_500, "12.5k")],
)
def test_rates_are_short(per_second: float | None, text: str) -> None:
    """Unknown is not zero."""
    assert rate(per_second) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "--"), (9.9, "9s"), (119, "119s"), (720, "12m"), (61_300, "17h"), (1.8e6, "20d")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    """Whole units."""
    assert duration(seconds) == text


def test_columns_fit_and_keep_their_order() -> None:
    """A wider screen never loses a column."""
    before: set[str] = set()
    for width in range(30, 220):
        columns = rank_columns.fit(width)
        names = [column.title for column in columns]
        assert before <= set(names)
        assert names == [c.title for c in rank_columns.COLUMNS if c.title in names]
        assert len(rank_columns.titles(columns)) <= width
        before = set(names)


@pytest.mark.parametrize("width", [0, 5])
def test_without_room_rank_and_state_remain(width: int) -> None:
    """A widget is painted before it has a size, and in terminals of any."""
    columns = rank_columns.fit(width)
    assert [column.title for column in columns] == ["RANK", "STATE"]
    view = Store(seeded.cluster(1)).ranks[0]
    assert rank_columns.row(view, columns, 1.0) == ("   0", "? UNKNOWN       ", "")


def test_a_rank_that_never_answered_says_why() -> None:
    """The first thing that an operator needs is the reason."""
    store = Store(seeded.cluster(1))
    store.apply(ContactLost(0, "no daemon answers at 127.0.0.1:50200", 1.0))
    _, state, after = rank_columns.row(store.ranks[0], rank_columns.fit(80), 2.0)
    assert state.strip() == "? UNKNOWN"
    assert after == "no contact: no daemon answers at 127.0.0.1:50200"


def test_waits_grow_within_their_bounds_and_start_over() -> None:
    """0.5 s at first, 10 s at most, never in step with another console."""
    backoff = Backoff(seed=1)
    waits = [backoff.next_s() for _ in range(200)]
    assert waits[0] == 0.5
    assert all(0.5 <= wait <= 10 for wait in waits)
    assert max(waits[10:]) > 8
    assert len(set(waits[10:])) > 100
    backoff.reset()
    assert backoff.next_s() == 0.5


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_progress_prints_a_line_per_change_into_a_pipe() -> None:
    """Logs of a start stay readable."""
    stream = io.StringIO()
    progress = Progress(stream)
    for part in ("STARTING", "STARTING", "LOADING layers 1/4", "READY"):
        progress.show({"rank 0": part, "api": "STARTING"})
    progress.end()
    assert stream.getvalue() == (
        "rank 0: STARTING\napi: STARTING\nrank 0: LOADING layers 1/4\nrank 0: READY\n"
    )


def test_progress_rewrites_one_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """And cuts it to the width, else it could not be rewritten."""
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    progress = Progress(stream)
    progress.show({f"rank {rank}": "JOINING" for rank in range(8)})
    progress.show({"rank 0": "READY"})
    progress.end()
    progress.end()
    frames = stream.getvalue().split("\r\x1b[K")
    assert frames[-1] == "rank 0 READY | rank 1 JOIN...\n"
