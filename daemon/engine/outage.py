"""The time between the end of an epoch and the first token of the next, for the history. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Outage:
    """From the moment at which rank 0 noticed. Times are monotonic seconds."""

    reason: str
    began_s: float
    sequences: int
    """Live ones, which will be run again from their tokens."""
    rebuilt_s: float = 0.0
    """When every rank had its layers again; 0 before."""

    def rebuilt(self, epoch: int, now_s: float) -> str:
        """Steps run again; what to tell people."""
        self.rebuilt_s = now_s
        return (
            f"epoch {epoch} runs {now_s - self.began_s:.3f} s after the last ended: {self.reason}"
        )

    def first_token(self, now_s: float) -> str:
        """The first token since came back; what to tell people."""
        return (
            f"first token {now_s - self.began_s:.3f} s after the loss was noticed, "
            f"{now_s - self.rebuilt_s:.3f} s after all ranks were ready; {self.sequences} "
            f"sequence{'' if self.sequences == 1 else 's'} run again from their tokens"
        )
