"""The memory forecast and the odd one out: true sentences, and none where nothing is known."""

from __future__ import annotations

from mlxconsole.log_entry import LogEntry
from mlxconsole.memory_forecast import MemoryNow, RequestNow, forecast
from mlxconsole.odd_one_out import form, odd_ones_out

GIB = 2**30
REQUESTS = [RequestNow(500, 500, 1500), RequestNow(900, 100, 2100)]


def test_the_rank_that_is_full_first_comes_first_with_its_seconds() -> None:
    """2,000 tokens hold 2 GiB; 3,000 are to come at 50 a second: 4 GiB of room end after 80 s."""
    ranks = [
        MemoryNow(0, 4 * GIB, 16 * GIB, 2 * GIB),
        MemoryNow(1, 14 * GIB, 16 * GIB, 2 * GIB),
        MemoryNow(2, 14 * GIB, 32 * GIB, 2 * GIB),
    ]
    first, *others = forecast(ranks, REQUESTS, 50.0)
    assert (first.rank, first.full_bytes) == (1, 17 * GIB)
    assert first.in_s is not None
    assert round(first.in_s) == 40
    assert first.sentence == (
        "Rank 1 reaches its limit of 16G in about 40s if admitted requests run to max_tokens: "
        "they need 17G."
    )
    assert [(one.rank, one.in_s) for one in others] == [(2, None), (0, None)]
    assert others[1].sentence.startswith("Rank 0 will use 7.0G of 16G")


def test_a_bound_of_the_caches_is_a_limit_too() -> None:
    """The caches may be full long before the device is."""
    [found] = forecast([MemoryNow(0, 4 * GIB, 16 * GIB, 2 * GIB, 3 * GIB)], REQUESTS, 100.0)
    assert found.limit_bytes == 5 * GIB
    assert found.in_s is not None
    assert round(found.in_s) == 10


def test_nothing_is_foretold_without_requests_or_caches() -> None:
    """An idle rank does not grow."""
    ranks = [MemoryNow(0, GIB, 2 * GIB, 0)]
    assert forecast(ranks, REQUESTS, 10.0) == []
    assert forecast([MemoryNow(0, GIB, 2 * GIB, GIB)], [], 10.0) == []
    [stalled] = forecast([MemoryNow(0, GIB, 2 * GIB, GIB)], REQUESTS, 0.0)
    assert stalled.in_s is None


def line(rank: int, text: str, time_s: float = 50.0, level: str = "INFO") -> LogEntry:
    """A line of a worker."""
    return LogEntry(rank, time_s, level, "worker", text)


def test_the_rank_that_did_not_say_it_is_named() -> None:
    """Times and ids differ and do not count."""
    lines = [line(rank, f"loaded lo={rank} hi={rank + 4} seconds=0.{rank}1") for rank in range(7)]
    [found] = odd_ones_out(lines, range(8), 0.0, 100.0)
    assert found.silent == (7,)
    assert found.sentence == (
        "7 of 8 ranks printed 'worker loaded lo=# hi=# seconds=#', rank 7 did not."
    )


def test_trouble_of_one_alone_is_told_and_its_chatter_is_not() -> None:
    """Rank 0's duties are its own; a warning that nobody else has is news."""
    lines = [line(0, "request id=req_0123456789abcdef"), line(2, "link slow", level="WARNING")]
    [found] = odd_ones_out(lines, range(4), 0.0, 100.0)
    assert found.sentence == "Only rank 2 of 4 printed 'worker link slow'."


def test_what_others_may_be_about_to_say_is_not_odd() -> None:
    """Nor what was said long ago; two ranks can't outvote each other."""
    said = [line(rank, "loaded") for rank in range(3)]
    assert odd_ones_out(said, range(4), 60.0, 100.0) == []
    assert odd_ones_out(said, range(4), 0.0, 40.0) == []
    assert odd_ones_out(said[:1], range(2), 0.0, 100.0) == []
    assert odd_ones_out([*said, line(3, "loaded")], range(4), 0.0, 100.0) == []


def test_forms_drop_what_differs() -> None:
    """Numbers, addresses, hex ids."""
    a = form(line(0, "peer_up rank=1 boot_id=fa03d79defcc4250b601337d0b5fc7cb at 0x7fff12"))
    b = form(line(0, "peer_up rank=12 boot_id=06f6614b86f74fffa4cc58c542c3e7f9 at 0x7aaa00"))
    assert a == b
