"""How the rows of a step become forward passes: the same on every rank, from the rows alone. Pure.

The boundary values that travel with a step are a list with one item per pass, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.messages import Row


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward of one sequence."""

    sequence_id: int
    tokens: tuple[int, ...]
    sample: bool


def passes_of(rows: tuple[Row, ...]) -> tuple[Pass, ...]:
    """The forwards of a step.

    A chunk whose last position is sampled is run as mlx-lm runs a prompt: first all but the last
    token, then the last alone. So results do not depend on the chunking, and the head sees one
    position instead of the whole chunk.
    """
    passes: list[Pass] = []
    for row in rows:
        if row.sample and len(row.tokens) > 1:
            passes.append(Pass(row.sequence_id, row.tokens[:-1], sample=False))
            passes.append(Pass(row.sequence_id, row.tokens[-1:], sample=True))
        else:
            passes.append(Pass(row.sequence_id, row.tokens, row.sample))
    return tuple(passes)
