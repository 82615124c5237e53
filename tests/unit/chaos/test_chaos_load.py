"""Streams that compare what they get: they must see every difference and every pause."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from mlxconsole.chaos.load import Load, Request, describe, judge
from mlxconsole.chaos.requests import Answer, ask, bodies

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = {"prompt": "p", "model": "m"}


class Api(BaseHTTPRequestHandler):
    """Answers with what the test put into `lines`; then the connection ends."""

    lines: tuple[bytes, ...] = ()
    status = 200

    def do_POST(self) -> None:
        """Stream the lines."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.end_headers()
        for line in self.lines:
            self.wfile.write(line + b"\n\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the library
        """Say nothing."""


def chunk(**choice: Any) -> bytes:
    """One event of a stream."""
    choice = {"text": "", "finish_reason": None, **choice}
    return b"data: " + json.dumps({"choices": [choice]}).encode()


USAGE = b'data: {"choices": [], "usage": {"completion_tokens": 2}}'
GOOD = (chunk(text="a"), chunk(text="b", finish_reason="stop", logprobs={"x": 1}), USAGE)
DONE = b"data: [DONE]"


@pytest.fixture
def port() -> Iterator[int]:
    """Of the fake API."""
    Api.status, Api.lines = 200, (*GOOD, DONE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_is_taken_whole(port: int) -> None:
    """Text, reason, usage and log probabilities."""
    seen: list[int] = []
    answer = ask(port, BODY, lambda: seen.append(1))
    assert answer == Answer("ab", "stop", 2, [{"x": 1}])
    assert len(seen) == 4


def test_a_chat_is_taken_as_well(port: int) -> None:
    """Its pieces are deltas."""
    Api.lines = (chunk(delta={"role": "assistant"}), chunk(delta={"content": "hi"}), DONE)
    answer = ask(port, {"messages": [{"role": "user", "content": "hello"}]}, lambda: None)
    assert (answer.text, answer.error) == ("hi", "")


@pytest.mark.parametrize(
    ("status", "lines", "error"),
    [
        (503, (b'{"error": "not ready"}',), 'HTTP 503: {"error": "not ready"}'),
        (200, GOOD, "the stream ended without [DONE]"),
        (200, (b'data: {"error": {"message": "out of memory"}}', DONE), "out of memory"),
        (200, (b"data: {",), "JSONDecodeError"),
    ],
)
def test_everything_else_is_a_failure(
    port: int, status: int, lines: tuple[bytes, ...], error: str
) -> None:
    """A stream that ends early looks complete to a careless client."""
    Api.status, Api.lines = status, lines
    assert error in ask(port, BODY, lambda: None).error


def test_nobody_listening_is_a_failure() -> None:
    """While the API process is away."""
    assert "ConnectionRefusedError" in ask(1, BODY, lambda: None).error


def test_a_load_compares_every_answer(port: int) -> None:
    """The streams go on until told."""
    load = Load(port, "m", streams=2)
    load.take_references()
    load.start()
    while not load.flowing_since(0.0):
        pass
    requests = load.finish()
    assert {request.verdict for request in requests} == {"same"}
    assert len(load.references) == len(bodies("m"))


def test_references_must_succeed(port: int) -> None:
    """A comparison with a failure would prove nothing."""
    Api.status = 500
    with pytest.raises(ValueError, match=r"undisturbed, .* failed: HTTP 500"):
        Load(port, "m", streams=1).take_references()


@pytest.mark.parametrize(
    "answer",
    [
        Answer("abx", "stop", 2, [1]),
        Answer("ab", "length", 2, [1]),
        Answer("ab", "stop", 3, [1]),
        Answer("ab", "stop", 2, [2]),
        Answer("ab", "stop", 2, [1], prompt_tokens=9),
    ],
)
def test_every_part_of_an_answer_counts(answer: Answer) -> None:
    """A doubled token may leave the text alone and spoil the count."""
    reference = Answer("ab", "stop", 2, [1])
    assert judge(answer, reference) == "different"
    assert judge(reference, reference) == "same"
    assert judge(Answer(error="gone"), reference) == "failed"


def test_what_went_wrong_is_told_on_one_line() -> None:
    """For the report."""
    request = Request(0, 0.0, answer=Answer("abX", "stop", 3), verdict="different")
    text = describe(request, BODY, Answer("abc", "length", 4))
    assert text == (
        "'p': different: 3 tokens ending by stop, undisturbed 4 by length; "
        "texts part after 2 characters"
    )
    failed = Request(0, 0.0, answer=Answer(error="HTTP 503"), verdict="failed")
    assert describe(failed, BODY, Answer()) == "'p': failed: HTTP 503"


def test_pauses_are_those_of_the_time_in_question() -> None:
    """A wait that began before a fault and ended after it is its pause."""
    request = Request(0, began_s=0.0, events_s=[1.0, 1.5, 4.0, 4.1])
    assert request.longest_pause_s(2.0, 3.0) == 2.5
    assert request.longest_pause_s(1.2, 1.3) == 0.5
    assert request.longest_pause_s(5.0, 6.0) == 0.0
