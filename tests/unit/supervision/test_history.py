"""What a rank remembers, and what readers of every speed get of it."""

from __future__ import annotations

import json

from daemon.supervision.history import EVENTS, LOG_LINES, History, clean


class Lines:
    """A log sink in memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        """Keep one line."""
        self.lines.append(line)


def test_a_reader_begins_with_the_recent_past() -> None:
    """A console that opens shows how things came to be."""
    history = History()
    for number in range(10):
        history.log("INFO", "worker", f"line {number}")
    history.event("start", "worker 1 started")
    with history.subscribe(3) as subscription:
        frame = subscription.take()
    assert [line.event for line in frame.logs] == ["line 8", "line 9", "start"]
    assert [line.sequence for line in frame.logs] == [9, 10, 11]
    assert [(event.kind, event.sequence) for event in frame.events] == [("start", 1)]
    assert history.readers == 0


def test_a_reader_that_wants_no_past_gets_none() -> None:
    """But every line from now on, once."""
    history = History()
    history.log("INFO", "worker", "before")
    subscription = history.subscribe(0)
    assert not subscription.waiting
    history.log("INFO", "worker", "after")
    assert subscription.waiting
    assert [line.event for line in subscription.take().logs] == ["after"]
    assert not subscription.take().logs


def test_a_slow_reader_loses_the_oldest_and_is_told() -> None:
    """A stopped console must not grow the supervisor."""
    history = History()
    slow, quick = history.subscribe(0), history.subscribe(0)
    for number in range(LOG_LINES + 50):
        history.log("INFO", "worker", str(number))
        if number == LOG_LINES // 2:
            quick.take()
    frame = slow.take()
    assert frame.dropped == 50
    assert frame.logs[0].event == "50"
    assert slow.take().dropped == 0
    assert quick.take().dropped == 0


def test_events_have_a_bound_too() -> None:
    """A rank that dies every second for a week."""
    history = History()
    subscription = history.subscribe(0)
    for number in range(EVENTS + 5):
        history.event("exit", str(number))
    frame = subscription.take()
    assert len(frame.events) == EVENTS
    assert frame.events[0].text == "5"
    assert frame.dropped == 5


def test_a_frame_stays_far_below_the_limit_of_a_message() -> None:
    """Long lines are spread over several frames, in order."""
    history = History()
    subscription = history.subscribe(0)
    for number in range(300):
        history.log("INFO", "worker", "x" * 7_000, {"number": number})
    numbers: list[int] = []
    while subscription.waiting:
        frame = subscription.take()
        assert frame.ByteSize() < 1024 * 1024
        numbers += [json.loads(line.fields_json)["number"] for line in frame.logs]
    assert numbers == list(range(300))


def test_long_texts_and_fields_are_cut() -> None:
    """One line can't fill the ring's memory; what is left is valid JSON."""
    history = History()
    subscription = history.subscribe(0)
    history.log("INFO", "worker", "x" * 100_000, {"huge": "y" * 100_000})
    [line] = subscription.take().logs
    assert len(line.event) <= 8_000
    assert len(json.loads(line.fields_json)["cut"]) <= 16_000


def test_a_child_cannot_talk_to_the_terminal() -> None:
    """Escape sequences and half characters are made visible."""
    assert "\x1b" not in clean("\x1b[31mred\x07")
    assert clean("tab\there") == "tab    here"
    clean("\ud800").encode()


def test_the_sink_gets_one_line_per_entry() -> None:
    """A log file is read with line tools."""
    history = History()
    history.sink = sink = Lines()
    history.log("ERROR", "worker", "first\nsecond", {"step": 1}, time_s=0.25)
    history.event("exit", "worker 1: exit code 0", time_s=1.0)
    assert sink.lines == [
        '1970-01-01T00:00:00.250Z ERROR worker first\\nsecond {"step":1}',
        '1970-01-01T00:00:01.000Z INFO supervisor exit {"text":"worker 1: exit code 0"}',
    ]
