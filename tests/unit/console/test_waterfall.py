"""The waterfall: every second of a step is one rank's or one link's, whatever the clocks say."""

from __future__ import annotations

from mlxconsole.ui.waterfall_text import lines
from mlxconsole.waterfall import totals_s, waterfall
from protos.control_pb2 import TraceStep


def step(number: int, arrived_s: float, *rest_ms: float, epoch: int = 1) -> TraceStep:
    """A step that arrived, and then began, ended and was sent after so many milliseconds."""
    began_s, ended_s, sent_s = (arrived_s + ms / 1000 for ms in rest_ms)
    return TraceStep(
        number=number,
        epoch=epoch,
        arrived_s=arrived_s,
        began_s=began_s,
        ended_s=ended_s,
        sent_s=sent_s,
        tokens=3,
    )


def test_a_step_is_cut_into_what_each_rank_and_link_took() -> None:
    """Rank 1 got it 4 ms after rank 0 had sent it, waited 2, computed 20."""
    traces = {0: [step(7, 100.0, 0, 10, 11)], 1: [step(7, 100.015, 2, 22, 22)]}
    [row] = waterfall(traces, {})
    found = {key: round(1000 * seconds) for key, seconds in totals_s([row]).items()}
    assert found == {
        (0, "compute"): 10,
        (0, "send"): 1,
        (1, "link"): 4,
        (1, "wait"): 2,
        (1, "compute"): 20,
    }
    assert round(1000 * row.length_s) == 37


def test_known_skew_is_taken_off_and_the_unknown_makes_no_negative_time() -> None:
    """Rank 1's clock is 50 ms behind; spans still follow each other."""
    traces = {0: [step(7, 100.0, 0, 10, 11)], 1: [step(7, 99.965, 2, 22, 22)]}
    [right] = waterfall(traces, {1: -0.050})
    assert round(1000 * right.length_s) == 37
    [wrong] = waterfall(traces, {})
    ends = [span.until_s for span in wrong.spans]
    assert ends == sorted(ends)
    assert all(span.until_s > span.from_s for span in wrong.spans)


def test_only_steps_that_all_ranks_told_of_and_only_the_last() -> None:
    """A rank that was restarted has forgotten; numbers begin again in an epoch."""
    told = [step(n, 100.0 + n, 0, 10, 11) for n in range(6)]
    late = [step(2, 300.0, 0, 10, 11, epoch=2)]
    rows = waterfall({0: [*told, *late], 1: [*told[3:], *late]}, {}, most=3)
    assert [row.number for row in rows] == [4, 5, 2]


def test_bars_say_who_computed_when() -> None:
    """One line a step, on one scale."""
    traces = {
        0: [step(7, 100.0, 0, 10, 10), step(8, 101.0, 0, 10, 10)],
        1: [step(7, 100.010, 0, 10, 10), step(8, 101.020, 0, 20, 20)],
    }
    text = lines(waterfall(traces, {}), 64)
    assert text[-2].endswith("0000000000" + "1111111111")
    assert text[-1].endswith("0000000000" + "----------" + "1" * 20)
    assert any("rank 1" in line and "compute" in line for line in text)
    assert lines([], 80) == ["No step that all ranks have told of."]


def short_and_long(ranks: int) -> list[str]:
    """The bars of a step of some milliseconds beside one of half a second, 80 columns wide."""
    traces: dict[int, list[TraceStep]] = {}
    for rank in range(ranks):
        short = step(7, 100.0 + 0.003 * rank, 0.2, 1.5, 2.5)
        traces[rank] = [short, step(8, 101.0 + 0.5 * rank, 0, 500, 500)]
    return [line[24:] for line in lines(waterfall(traces, {}), 74)[-2:]]


def test_every_part_of_a_short_step_is_seen() -> None:
    """Beside a long prompt a token takes less than a cell; who computed must show all the same."""
    short, long = short_and_long(2)
    assert short == ".0=-.1="
    assert len(long) == 50
    assert long == "0" * 25 + "1" * 25


def test_where_cells_are_short_computing_wins() -> None:
    """More parts than cells: the ranks that compute are what one looks for."""
    short, _ = short_and_long(36)
    assert len(short) == 50
    assert all(sign in short for sign in "0123456789abcdefghijklmnopqrstuvwxyz")


def test_what_is_pushed_over_the_edge_pushes_back() -> None:
    """The last part of a long step is short and has its cell, too."""
    traces = {0: [step(7, 100.0, 0, 990, 991)], 1: [step(7, 100.9911, 0.1, 0.2, 0.3)]}
    bar = lines(waterfall(traces, {}), 34)[-1][24:]
    assert bar == "00000=-.1="


def test_steps_that_took_no_time_are_drawn() -> None:
    """A clock may stand still: nothing to divide by."""
    assert lines(waterfall({0: [step(7, 100.0, 0, 0, 0)]}, {}), 34)[-1].endswith(" 0")
