"""Whether prompts or running streams come next, so that streams keep half of their rate. Pure.

A prompt may take as much of a stage's time as the streams' decoding does, no more. Times come from
outside, measured on rank 0's stage; without any, the two take turns.
"""

from __future__ import annotations

WEIGHT = 0.25
"""Of the latest measurement in the running averages."""


class Turns:
    """Keeps the balance of the time spent on prompts and on streams."""

    def __init__(self) -> None:
        self._debt_s = 0.0
        self._prompts_came_last = False
        self._decode_s = 0.0
        self._token_s = 0.0

    def prompts_are_next(self) -> bool:
        """Whether it is a prompt's turn, given that streams are running."""
        return not self._prompts_came_last and self.in_credit

    @property
    def in_credit(self) -> bool:
        """Whether prompts have not taken more time than streams."""
        return self._debt_s <= 0

    def portion(self, least: int, most: int) -> int:
        """Prompt tokens for a step among streams: about as long as one of theirs takes."""
        if not self._token_s or not self._decode_s:
            return least
        return max(least, min(most, int(self._decode_s / self._token_s)))

    def chose(self, *, prompts: bool) -> None:
        """A step of that kind is on its way."""
        self._prompts_came_last = prompts

    def prompt_took(self, tokens: int, seconds: float, *, among_streams: bool) -> None:
        """A step with prompts took that long."""
        self._token_s = _average(self._token_s, seconds / max(1, tokens))
        self._debt_s = self._debt_s + seconds if among_streams else 0.0

    def decode_took(self, seconds: float) -> None:
        """A step of running streams took that long."""
        self._decode_s = _average(self._decode_s, seconds)
        self._debt_s = max(0.0, self._debt_s - seconds)


def _average(so_far: float, latest: float) -> float:
    return so_far + WEIGHT * (latest - so_far) if so_far else latest
