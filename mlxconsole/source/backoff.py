"""How long to wait before the next try: doubling, bounded, jittered."""

from __future__ import annotations

from random import Random

FIRST_S = 0.5
MOST_S = 10.0


class Backoff:
    """Waits of 0.5 to 10 s; jitter keeps many consoles from knocking at the same moment."""

    def __init__(
        self, first_s: float = FIRST_S, most_s: float = MOST_S, seed: int | None = None
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._ceiling_s = first_s
        self._random = Random(seed)  # noqa: S311 - jitter, no secret

    def next_s(self) -> float:
        """The next wait in seconds: between the first wait and a ceiling that doubles."""
        wait_s = self._random.uniform(self._first_s, self._ceiling_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._most_s)
        return wait_s

    def reset(self) -> None:
        """Start over after a success."""
        self._ceiling_s = self._first_s
