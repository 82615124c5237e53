"""Which lines a log shows: merged by time, filtered, bounded, and where the reader stands."""

from __future__ import annotations

from dataclasses import replace

from mlxconsole.log_entry import LogEntry
from mlxconsole.log_ring import LogRing
from mlxconsole.log_selection import LogQuery, LogSelection, compiled


def line(time_s: float, text: str = "", rank: int = 0, level: str = "INFO") -> LogEntry:
    """A line."""
    return LogEntry(rank, time_s, level, "worker", text or f"t{time_s:g}")


def texts(selection: LogSelection) -> list[str]:
    """What is shown."""
    return [entry.text for entry in selection]


def test_a_late_line_goes_where_its_time_belongs_and_the_reader_stays() -> None:
    """Ranks send every 250 ms, each its own: arrival is not order."""
    ring = LogRing()
    selection = LogSelection(ring)
    ring.extend([line(1), line(5), line(9)])
    assert selection.take(1) == 1
    ring.extend([line(4), line(7), line(9, "again")])
    assert selection.take(1) == 2, "the reader at t5 stands at t5 still"
    assert texts(selection) == ["t1", "t4", "t5", "t7", "t9", "again"]


def test_a_selection_is_no_longer_than_its_ring() -> None:
    """Old lines go; the reader's place moves with the text and stops at the oldest."""
    ring = LogRing(capacity=3)
    selection = LogSelection(ring)
    ring.extend(line(n) for n in range(3))
    selection.take(0)
    ring.extend(line(n) for n in range(3, 5))
    assert selection.take(2) == 0
    assert texts(selection) == ["t2", "t3", "t4"]
    ring.extend(line(n) for n in range(5, 50))
    assert selection.take(1) == 0


def test_what_the_ring_drops_goes_wherever_it_stands() -> None:
    """A rank whose clock is ahead has lines in the middle that came first."""
    ring = LogRing(capacity=4)
    selection = LogSelection(ring)
    ring.extend([line(100, "ahead"), line(1), line(200, "far ahead"), line(2)])
    selection.take(0)
    assert texts(selection) == ["t1", "t2", "ahead", "far ahead"]
    ring.extend([line(3)])
    assert selection.take(3) == 3
    assert texts(selection) == ["t1", "t2", "t3", "far ahead"]
    ring.extend(line(n) for n in range(4, 8))
    assert selection.entry(3) is None, "gone, and not yet taken note of"
    selection.take(0)
    assert texts(selection) == ["t4", "t5", "t6", "t7"]
    assert selection.entry(4) is None
    assert selection.key(-1) is None


def test_queries_compose() -> None:
    """Level, rank and pattern each take their part away; unknown levels stay."""
    ring = LogRing()
    ring.extend(
        [
            line(1, "timeout a", 0, "DEBUG"),
            line(2, "timeout b", 1, "WARNING"),
            line(3, "fine", 1, "ERROR"),
            line(4, "odd TimeOut", 1, "TRACE"),
        ]
    )
    selection = LogSelection(ring)
    query = LogQuery(pattern=compiled("timeout"))
    selection.choose(query)
    assert len(texts(selection)) == 4, "without hide, others are dimmed only"
    selection.choose(replace(query, hide=True))
    assert texts(selection) == ["timeout a", "timeout b", "odd TimeOut"]
    selection.choose(replace(query, hide=True, level="WARNING", rank=1))
    assert texts(selection) == ["timeout b", "odd TimeOut"]
    selection.choose(replace(query, hide=True, rank=0), until=0)
    assert texts(selection) == []


def test_search_goes_round_and_capitals_count_when_typed() -> None:
    """As in a pager; a pattern that nothing has ends the search."""
    ring = LogRing()
    ring.extend([line(1, "xAy"), line(2, "b"), line(3, "xay")])
    selection = LogSelection(ring)
    selection.choose(LogQuery(pattern=compiled("a.$")))
    assert [selection.find(1, 1), selection.find(3, 1), selection.find(-1, -1)] == [2, 0, 2]
    selection.choose(LogQuery(pattern=compiled("A")))
    assert selection.find(1, 1) == 0
    selection.choose(LogQuery(pattern=compiled("nothing")))
    assert selection.find(0, 1) is None
    assert compiled("") is None
