"""Messages that have arrived and wait for a `recv`, per (tag, source). Any thread.

A waiting receiver gets its message handed over directly: one lock release, no broadcast.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from daemon.errors import RecvTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.comm.events import Message
    from daemon.errors import CommError


class Waiter:
    """One thread that waits for a message."""

    __slots__ = ("_woken", "error", "message", "source", "tag")

    def __init__(self, tag: int, source: int | None) -> None:
        self.tag = tag
        self.source = source
        self.message: Message | None = None
        self.error: CommError | None = None
        self._woken = threading.Lock()
        self._woken.acquire()

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.message is not None or self.error is not None

    def wake(self) -> None:
        """Let `wait` return."""
        try:
            self._woken.release()
        except RuntimeError:
            return  # it was woken before

    def wait(self, timeout_s: float) -> bool:
        """Whether `wake` was called, before or in time."""
        return self._woken.acquire(timeout=max(0.0, timeout_s))


class Mailbox:
    """Holds at most what the peers may send before they are held back."""

    def __init__(self, rank: int, large_bytes: int) -> None:
        """Messages from ``large_bytes`` on are counted apart."""
        self._rank = rank
        self._large_bytes = large_bytes
        self._lock = threading.Lock()
        self._messages: dict[int, deque[Message]] = {}  # by tag, in order of arrival
        self._waiters: dict[int, list[Waiter]] = {}
        self._bytes: dict[tuple[int, bool], int] = {}  # by (source, is large)

    def put(self, message: Message) -> bool:
        """Hand over or keep a message; whether it was kept."""
        source, tag, _ = message
        with self._lock:
            for waiter in self._waiters.get(tag, ()):
                if waiter.source is None or waiter.source == source:
                    self._leave(tag, waiter)
                    waiter.message = message
                    waiter.wake()
                    return False
            self._messages.setdefault(tag, deque()).append(message)
            self._count(message, 1)
            return True

    def begin(
        self, tag: int, source: int | None, check: Callable[[], None] = lambda: None
    ) -> Message | Waiter:
        """The oldest message of a tag and a source (None: any), or a waiter for it.

        ``check`` is called before waiting and raises if that is in vain.
        """
        with self._lock:
            message = self._pop(tag, source)
            if message is not None:
                return message
            check()
            waiter = Waiter(tag, source)
            self._waiters.setdefault(tag, []).append(waiter)
            return waiter

    def finish(self, waiter: Waiter, timeout_s: float, started: float) -> Message:
        """What the waiter gets within ``timeout_s``; ``started`` is monotonic.

        Raises:
            RecvTimeout: nothing.
            CommError: what `fail` was told meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        while not waiter.over and waiter.wait(deadline - time.monotonic()):
            pass  # woken to lead: see reader.py
        with self._lock:
            if not waiter.over:
                self._leave(waiter.tag, waiter)
        if waiter.message is not None:
            return waiter.message
        if waiter.error is not None:
            elapsed_s = time.monotonic() - started
            raise waiter.error.fill(
                rank=self._rank, peer=waiter.source, tag=waiter.tag, elapsed_s=elapsed_s
            )
        raise RecvTimeout(
            "no message arrived",
            rank=self._rank,
            peer=waiter.source,
            tag=waiter.tag,
            elapsed_s=time.monotonic() - started,
        )

    def drain(self, tag: int) -> list[Message]:
        """Take all messages of a tag."""
        with self._lock:
            messages = list(self._messages.pop(tag, ()))
            for message in messages:
                self._count(message, -1)
            return messages

    def kept_bytes(self, source: int, *, large: bool) -> int:
        """Bytes of small or of large messages of a source that nobody has taken."""
        return self._bytes.get((source, large), 0)

    def forget(self, source: int) -> None:
        """Drop what came from a life of a peer that is over."""
        with self._lock:
            for tag, messages in list(self._messages.items()):
                kept = deque(message for message in messages if message.source != source)
                if kept:
                    self._messages[tag] = kept
                else:
                    del self._messages[tag]
            self._bytes[source, False] = self._bytes[source, True] = 0

    def fail(
        self,
        make_error: Callable[[int], CommError],
        source: int | None = None,
        tag: int | None = None,
    ) -> None:
        """End the waits for a source and a tag (None: any) with an error made from the tag."""
        with self._lock:
            tags = list(self._waiters) if tag is None else [tag]
            for each in tags:
                for waiter in list(self._waiters.get(each, ())):
                    if source is None or waiter.source == source:
                        self._leave(each, waiter)
                        waiter.error = make_error(each)
                        waiter.wake()

    def _pop(self, tag: int, source: int | None) -> Message | None:
        messages = self._messages.get(tag)
        if not messages:
            return None
        for index, message in enumerate(messages):
            if source is None or message.source == source:
                del messages[index]
                if not messages:
                    del self._messages[tag]
                self._count(message, -1)
                return message
        return None

    def _count(self, message: Message, sign: int) -> None:
        size = len(message.payload)
        key = (message.source, size >= self._large_bytes)
        self._bytes[key] = self._bytes.get(key, 0) + sign * size

    def _leave(self, tag: int, waiter: Waiter) -> None:
        waiters = self._waiters[tag]
        if len(waiters) == 1:
            del self._waiters[tag]
        else:
            waiters.remove(waiter)
