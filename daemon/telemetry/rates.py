"""Turns a growing counter into a rate. Pure: the caller tells the time."""

from __future__ import annotations

from collections import deque

WINDOW_S = 2.0
STALE_AFTER_S = 3.0
_MAX_SAMPLES = 1_000


class CounterRate:
    """Growth per second of one counter over the last `WINDOW_S`."""

    def __init__(self) -> None:
        # (time, count), oldest first; a flood of samples shortens the window, not the memory.
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MAX_SAMPLES)

    def add(self, now_s: float, count: float) -> None:
        """Take a reading; a count below the last one means that the counter started again."""
        if self._samples and count < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now_s, count))
        while len(self._samples) > 2 and now_s - self._samples[1][0] >= WINDOW_S:
            self._samples.popleft()

    def clear(self) -> None:
        """Forget all readings: the counter belongs to another process now."""
        self._samples.clear()

    def per_second(self, now_s: float) -> float:
        """Growth per second; 0 before the second reading and when readings stay away."""
        if len(self._samples) < 2 or now_s - self._samples[-1][0] > STALE_AFTER_S:
            return 0.0
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0
