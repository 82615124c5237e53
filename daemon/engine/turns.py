"""Whether prompts or running streams come next, so that streams keep half of their rate. Pure.

A prompt may keep streams waiting for as long as they ran undisturbed, no more. Its portions go in
bursts of as many as there are stages: a stream waits behind the first at the first stage and behind
the last at the last, so n portions of t seconds keep it waiting for (n + stages - 1) * t, and one
alone would cost nearly as much as two. Times come from outside, measured on rank 0's stage.
"""

from __future__ import annotations

WEIGHT = 0.25
"""Of the latest measurement in the running averages."""
AFTERMATH = 1.25
"""A burst costs streams more than their wait: then caches are cold, and all groups in one place."""


class Turns:
    """Keeps the balance of the time spent on prompts and on streams."""

    def __init__(self, stages: int = 1) -> None:
        self._stages = stages
        self._debt_s = 0.0
        self._in_row = 0
        """Portions since the last step of streams."""
        self._decode_s = 0.0
        self._token_s = 0.0

    def prompts_are_next(self) -> bool:
        """Whether it is a prompt's turn, given that a step of streams could run, too."""
        return self._is_burst or (not self._in_row and self._debt_s <= 0)

    def prompts_may_run(self) -> bool:
        """Whether a prompt may fill the time, given that all streams are on their way."""
        return self._is_burst or self._debt_s <= 0

    @property
    def _is_burst(self) -> bool:
        return 0 < self._in_row < self._stages

    def portion(self, least: int, most: int) -> int:
        """Prompt tokens for a step among streams: about as long as one of theirs takes."""
        if not self._token_s or not self._decode_s:
            return least
        return max(least, min(most, int(self._decode_s / self._token_s)))

    def chose(self, *, prompts: bool) -> None:
        """A step of that kind is on its way."""
        if not prompts:
            self._in_row = 0
        else:
            self._in_row = self._in_row + 1 if self._in_row < self._stages else 1

    def prompt_took(self, tokens: int, seconds: float, *, among_streams: bool) -> None:
        """A step with prompts took that long."""
        self._token_s = _average(self._token_s, seconds / max(1, tokens))
        if not among_streams:
            self._debt_s = 0.0
            return
        # The first of a burst is waited for at every stage, those behind it fill the stages.
        stages = self._stages if self._in_row == 1 else 1
        self._debt_s += AFTERMATH * stages * seconds

    def decode_took(self, seconds: float) -> None:
        """A step of running streams took that long."""
        self._decode_s = _average(self._decode_s, seconds)
        self._debt_s = max(0.0, self._debt_s - seconds)


def _average(so_far: float, latest: float) -> float:
    return so_far + WEIGHT * (latest - so_far) if so_far else latest
