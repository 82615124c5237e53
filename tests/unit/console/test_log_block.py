"""Packed lines come out as they went in, before and after their texts are put together."""

from __future__ import annotations

from mlxconsole.log_block import LogBlock
from mlxconsole.log_entry import LogEntry, entry
from mlxconsole.log_ring import LogRing
from protos.control_pb2 import LogLine

EVENTS = ("", "plain", "gr\u00fcn \u4e16\u754c", "nul\0inside", "\x1b[2J")
FIELDS = ("", '{"a": 1}', '{"text": "\u00e9"}', '{"bad": "\\ud800"}', "[1]", "{", "0")


def various() -> list[LogEntry]:
    """Lines of each kind."""
    return [
        entry(n, LogLine(time_s=n + 0.25, level="INFO", source="api", event=e, fields_json=f))
        for n, (e, f) in enumerate((e, f) for e in EVENTS for f in FIELDS)
    ]


def seen(line: LogEntry) -> tuple[int, float, str, str, str]:
    """All that a reader may see of it."""
    return line.rank, line.time_s, line.level, line.source, line.text


def test_lines_come_out_as_they_went_in() -> None:
    """In any mixture of lines that were made ready and lines that were not."""
    block = LogBlock(first=1000)
    wanted = various()
    for n, line in enumerate(wanted):
        block.append(line)
        if n % 7 == 0:
            block.make_ready()
    got = [block.entry(at) for at in range(len(block))]
    assert [line.number for line in got] == list(range(1000, 1000 + len(wanted)))
    assert [seen(line) for line in got] == [seen(line) for line in wanted]
    block.make_ready()
    assert [seen(block.entry(at)) for at in range(len(block))] == [seen(line) for line in wanted]


def test_a_text_that_is_ready_is_not_put_together_again() -> None:
    """Searching reads the same lines many times."""
    ring = LogRing()
    ring.extend(various())
    raw = [line.raw for line in ring.between(0, ring.end, ready=True)]
    assert not any("\0" in text for text in raw)
    assert raw == [line.text for line in various()]


def test_text_that_is_no_unicode_does_not_stop_the_log() -> None:
    """A file name that this system gave undecoded, for one."""
    ring = LogRing()
    ring.extend([LogEntry(0, 0.0, "INFO", "console", "odd \udcff name")])
    assert [line.text for line in ring.between(0, 1)] == ["odd ? name"]


def test_a_ring_drops_a_block_at_a_time() -> None:
    """Never more than it may have, and at most a block less."""
    ring = LogRing(capacity=100)
    for n in range(1000):
        ring.extend([LogEntry(0, float(n), "INFO", "worker", str(n))])
        assert 0 < ring.end - ring.start <= 100
        assert ring.end - ring.start > 100 - 4 or n < 100
    assert [line.text for line in ring.between(0, 950)] == [str(n) for n in range(ring.start, 950)]
    assert ring.times_s(ring.start, ring.end) == [float(n) for n in range(ring.start, 1000)]
