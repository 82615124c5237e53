"""How the rows of a step become forward passes: the same on every rank, from the rows alone. Pure.

The boundary values that travel with a step are a list with one item per pass, in this order. The
item of a pass of several rows is one value stacked along axis 0, or a list with a value per row;
the sender chooses, and the receiver takes either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.messages import Row


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward: of a prompt's chunk alone, or of one token each of several sequences."""

    sequence_ids: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    """Per sequence; all of one length."""
    sample: bool
    keep: int = 0
    """Block of the prefix cache to make of the chunk."""
    snapshot: bool = False


def passes_of(rows: tuple[Row, ...]) -> tuple[Pass, ...]:
    """The forwards of a step: each chunk alone, then all sampled positions together.

    A chunk whose last position is sampled is run as mlx-lm runs a prompt: first all but the last
    token, then the last alone. So results do not depend on the chunking, and the head sees one
    position instead of the whole chunk.
    """
    passes: list[Pass] = []
    sampled: list[Row] = []
    for row in rows:
        if row.sample:
            sampled.append(row)
        chunk = row.tokens[:-1] if row.sample else row.tokens
        if chunk:
            passes.append(Pass((row.sequence_id,), (chunk,), False, row.keep, row.snapshot))
    if sampled:
        ids = tuple(row.sequence_id for row in sampled)
        passes.append(Pass(ids, tuple(row.tokens[-1:] for row in sampled), sample=True))
    return tuple(passes)
