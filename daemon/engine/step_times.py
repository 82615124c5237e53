"""How long steps take on this rank, learned from those that came back. Pure.

Says from when on a step can't be honest work any more: by wall time for one in which the process
does nothing, by the processor's time for one that computes. A loaded machine stretches the first
and hardly the second. Before a kind of step is known, the others and the size of the weights tell.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.messages import Step

LEAST_IDLE_S = 2.5
LEAST_CPU_S = 2.0
TIMES_SLOWEST_IDLE = 20
"""On a GPU the process is idle while it computes, and others may be busy there too."""
TIMES_SLOWEST_CPU = 8
KNOWN_STEPS = 20
"""Before so many, all that steps have taken may be chance."""
FIRST_USES = 3
"""Of a kind of step: kernels are compiled then. They are given time, and teach nothing."""
FIRST_CPU_S = 5.0
"""Of the processor, for compiling; imports and all, a whole worker's start takes 2 of ours."""
FIRST_IDLE_S = 5.0
"""Where the process computes itself: a compiler that it waits for needs less."""
SLOWEST_S_PER_BYTE = 25e-9
"""Processor time of a token per byte of weights, before any step has told: twice what MLX's own
8-bit products take, the slowest that we know."""
REMEMBERED = 64
"""Steps of a kind: what a bad moment has taught is forgotten."""


@dataclass(frozen=True)
class Kind:
    """Steps that cost about the same per token, and that use the same kernels."""

    prefill: bool
    tokens_bits: int
    """Bits of the number of tokens: kinds are apart by factors of two."""


@dataclass(frozen=True)
class Patience:
    """What a step is given."""

    idle_s: float
    """Seconds in which the process does nothing."""
    cpu_s: float
    """Processor seconds of the process."""


class StepTimes:
    """The model. Written by the engine thread, asked by the watchdog's."""

    def __init__(self, weights_bytes: int = 0, *, computes_here: bool = False) -> None:
        """Know nothing yet.

        Args:
            weights_bytes: of the layers that the steps run through.
            computes_here: whether the process is busy while it computes, as without a GPU.
        """
        self._guess_s = SLOWEST_S_PER_BYTE * weights_bytes
        self._first_idle_s = FIRST_IDLE_S if computes_here else float("inf")
        self._steps = 0
        self._uses: dict[Kind, int] = defaultdict(int)
        window = partial(deque[tuple[float, float]], maxlen=REMEMBERED)
        self._per_token: dict[Kind, deque[tuple[float, float]]] = defaultdict(window)

    def note(self, step: Step, wall_s: float, cpu_s: float) -> None:
        """A step has come back."""
        kind, tokens = kind_of(step), tokens_of(step)
        self._steps += 1
        self._uses[kind] += 1
        if self._uses[kind] > FIRST_USES:
            self._per_token[kind].append((wall_s / tokens, cpu_s / tokens))

    def patience(self, step: Step, most_s: float) -> Patience:
        """What ``step`` may take, ``most_s`` at most."""
        kind, tokens = kind_of(step), tokens_of(step)
        if self._steps < KNOWN_STEPS or self._uses[kind] <= FIRST_USES:
            cpu_s = max(FIRST_CPU_S, self._first_cpu_s() * tokens)
            return Patience(min(most_s, self._first_idle_s), min(most_s, cpu_s))
        wall_s, cpu_s = self._slowest(kind)
        return Patience(
            min(most_s, max(LEAST_IDLE_S, TIMES_SLOWEST_IDLE * wall_s * tokens)),
            min(most_s, max(LEAST_CPU_S, TIMES_SLOWEST_CPU * cpu_s * tokens)),
        )

    def _first_cpu_s(self) -> float:
        """Processor seconds per token that a step of an unknown kind may take.

        One token alone costs more than each of many; `FIRST_CPU_S` has room for that.
        """
        _, cpu_s = self._slowest(None)
        return TIMES_SLOWEST_CPU * cpu_s if cpu_s else self._guess_s

    def _slowest(self, kind: Kind | None) -> tuple[float, float]:
        """Seconds per token of the slowest steps of a kind, in wall and processor time.

        Prompts count for all kinds: their last chunk has seen the whole context, which a first
        token of decoding sees as well. None: of every kind.
        """
        known = list(self._per_token.items())
        like = [list(pairs) for k, pairs in known if kind is None or k.prefill or k == kind]
        seen = [pair for pairs in like for pair in pairs]
        return max((w for w, _ in seen), default=0.0), max((c for _, c in seen), default=0.0)


def kind_of(step: Step) -> Kind:
    """What a step is like."""
    return Kind(any(not row.sample for row in step.rows), tokens_of(step).bit_length())


def tokens_of(step: Step) -> int:
    """Tokens that a step runs; 1 for one that only opens and closes."""
    return max(1, sum(len(row.tokens) for row in step.rows))
