"""Rates from counters: what a rank counts, seen as tokens per second.

Pure; the caller brings the clock.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 3.0


class Rate:
    """Growth per second of one counter over the last few seconds."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._boot_id = ""
        self._samples: deque[tuple[float, float]] = deque(maxlen=64)

    def add(self, at_s: float, boot_id: str, count: float) -> None:
        """Take a sample; a new ``boot_id`` starts the counter, and the rate, again."""
        restarted = boot_id != self._boot_id
        if restarted or (self._samples and count < self._samples[-1][1]):
            self._samples.clear()
            self._boot_id = boot_id
        self._samples.append((at_s, count))

    def per_second(self, now_s: float) -> float | None:
        """The rate, or None while too little is known to tell."""
        while len(self._samples) > 2 and self._samples[1][0] < now_s - self._window_s:
            self._samples.popleft()
        if len(self._samples) < 2:
            return None
        (first_s, first), (_, last) = self._samples[0], self._samples[-1]
        return (last - first) / max(now_s - first_s, 1e-3)


class FixedRate(Rate):
    """A rate as it was once."""

    def __init__(self, value: float | None) -> None:
        super().__init__()
        self._value = value

    def per_second(self, now_s: float) -> float | None:
        """What it was, whenever asked."""
        del now_s
        return self._value
