"""Streams that never end: each asks, compares, asks again, and notes when nothing came.

One thread per stream; the notes are read when all have ended.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlxconsole.chaos.requests import Answer, ask, bodies, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRY_S = 0.25


@dataclass
class Request:
    """One request of a run. Times are monotonic seconds."""

    body: int
    """Which of the bodies."""
    began_s: float
    events_s: list[float] = field(default_factory=list[float])
    ended_s: float = 0.0
    answer: Answer = field(default_factory=Answer)
    verdict: str = ""
    """`same`, `different`, or `failed`."""

    def longest_pause_s(self, after_s: float, before_s: float) -> float:
        """Longest wait for a piece of the answer that touches a span of time; 0 if none does."""
        moments = [self.began_s, *self.events_s]
        waits = (
            later - earlier
            for earlier, later in itertools.pairwise(moments)
            if later > after_s and earlier < before_s
        )
        return max(waits, default=0.0)


class Load:
    """``streams`` clients at once on the API at ``port``."""

    def __init__(
        self, port: int, model: str, streams: int, references: Sequence[Answer] = ()
    ) -> None:
        """``references``: the undisturbed answers, if they are known already."""
        self._port = port
        self._bodies = bodies(model)
        self._references = list(references)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._done: list[Request] = []
        self._last_event_s: dict[int, float] = {}  # of the streams in the middle of an answer
        self._threads = [
            threading.Thread(target=self._run, args=(n,), name=f"chaos-stream-{n}", daemon=True)
            for n in range(streams)
        ]

    def take_references(self) -> None:
        """Ask everything once, one after the other, undisturbed.

        Raises:
            ValueError: an answer fails even so.
        """
        for body in self._bodies:
            answer = ask(self._port, body, lambda: None)
            if answer.error:
                raise ValueError(f"undisturbed, '{name_of(body)}' failed: {answer.error}")
            self._references.append(answer)

    @property
    def references(self) -> Sequence[Answer]:
        """The undisturbed answers."""
        return self._references

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> list[Request]:
        """Let what is under way end; every request of the run."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self._done

    def flowing_since(self, moment_s: float) -> bool:
        """Whether every stream is in the middle of an answer that has moved since then."""
        moments = list(self._last_event_s.values())
        return len(moments) == len(self._threads) and min(moments) > moment_s

    def _run(self, stream: int) -> None:
        turn = stream
        while not self._stop.is_set():
            request = self._ask(stream, turn % len(self._bodies))
            with self._lock:
                self._done.append(request)
            turn += 1
            if request.verdict == "failed":
                self._stop.wait(RETRY_S)

    def _ask(self, stream: int, body: int) -> Request:
        request = Request(body, time.monotonic())

        def on_event() -> None:
            self._last_event_s[stream] = time.monotonic()
            request.events_s.append(self._last_event_s[stream])

        request.answer = ask(self._port, self._bodies[body], on_event)
        self._last_event_s.pop(stream, None)
        request.ended_s = time.monotonic()
        request.verdict = judge(request.answer, self._references[body])
        return request


def judge(answer: Answer, reference: Answer) -> str:
    """How an answer compares with the undisturbed one."""
    if answer.error:
        return "failed"
    return "same" if answer.content == reference.content else "different"


def describe(request: Request, body: dict[str, Any], reference: Answer) -> str:
    """What went wrong with a request, on one line."""
    what = request.answer.error
    if not what:
        got, want = request.answer, reference
        pairs = enumerate(zip(got.text, want.text, strict=False))
        shorter = min(len(got.text), len(want.text))
        at = next((n for n, (ours, theirs) in pairs if ours != theirs), shorter)
        what = (
            f"{got.tokens} tokens ending by {got.finish_reason}, undisturbed {want.tokens} by "
            f"{want.finish_reason}; texts part after {at} characters"
        )
    return f"'{name_of(body)}': {request.verdict}: {what}"
