"""Applies steps to one stage: opens and closes sequences, runs rows, chooses tokens.

Knows no network. Every call is made on the one engine thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_map

from daemon.errors import StepFailed
from daemon.execution.passes import Pass, passes_of
from daemon.execution.sampling import Sampler
from daemon.execution.skeleton import arrays_in

if TYPE_CHECKING:
    from daemon.execution.stage import Stage, StageCaches
    from daemon.messages import OpenSequence, Step, TokenOut

STEPS_PER_CLEARING = 256
"""MLX keeps freed buffers for reuse; like mlx-lm we give them back now and then."""


@dataclass
class _Live:
    """A sequence on this stage."""

    caches: StageCaches
    sampler: Sampler | None
    """On the last stage only."""
    history: list[int] = field(default_factory=list[int])


class StageExecutor:
    """One stage and the sequences that live on it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._live: dict[int, _Live] = {}
        self._steps = 0

    @property
    def weights_bytes(self) -> int:
        """Bytes of this stage's weights."""
        return self._stage.weight_bytes

    @property
    def kv_bytes(self) -> int:
        """Bytes of the caches of all sequences."""
        return sum(live.caches.nbytes for live in self._live.values())

    @property
    def sequences(self) -> int:
        """Sequences that are open."""
        return len(self._live)

    def reset(self) -> None:
        """Drop all sequences."""
        self._live.clear()
        mx.clear_cache()

    def run(self, step: Step, hidden: list[Any] | None) -> list[Any] | tuple[TokenOut, ...]:
        """Apply ``step``: close, open, then run its rows.

        Args:
            step: what to do.
            hidden: None on the first stage, else what the stage before returned for this step.

        Returns:
            One boundary value per pass (see `passes`), evaluated and contiguous; on the last
            stage the tokens chosen, in row order.

        Raises:
            StepFailed: a row can't be run; the sequences of the step are dropped on this stage,
                all others are as before.
        """
        for sequence_id in step.closed:
            self._live.pop(sequence_id, None)
        for opened in step.opened:
            self._live[opened.sequence_id] = self._open(opened)
        passes = passes_of(step.rows)
        try:
            results = self._run_passes(passes, hidden)
        # Whatever the model or MLX raises must cost these sequences only.
        except Exception as error:
            for row in step.rows:
                self._live.pop(row.sequence_id, None)
            raise StepFailed(f"step {step.number}: {error}") from error
        self._steps += 1
        if self._steps % STEPS_PER_CLEARING == 0:
            mx.clear_cache()
        if not self._stage.is_last:
            return results
        return tuple(token for token in results if token is not None)

    def _open(self, opened: OpenSequence) -> _Live:
        sampler = Sampler(opened) if self._stage.is_last else None
        return _Live(self._stage.make_caches(), sampler)

    def _run_passes(self, passes: tuple[Pass, ...], hidden: list[Any] | None) -> list[Any]:
        unknown = [item.sequence_id for item in passes if item.sequence_id not in self._live]
        if unknown:
            raise StepFailed(f"sequence {unknown[0]} is not open on this rank")
        if self._stage.is_first:
            received: list[Any] = [None] * len(passes)
        else:
            received = list(hidden or ())
            if len(received) != len(passes):
                raise StepFailed(f"{len(received)} boundary values for {len(passes)} passes")
        return [self._run(item, value) for item, value in zip(passes, received, strict=True)]

    def _run(self, item: Pass, received: Any) -> Any:
        live = self._live[item.sequence_id]
        live.history.extend(item.tokens)
        output = self._stage.forward(mx.array([item.tokens]), received, live.caches)
        if not self._stage.is_last:
            output = tree_map(_contiguous, output)
            mx.eval(arrays_in(output), live.caches.arrays())
            return output
        if not item.sample or live.sampler is None:
            mx.eval(live.caches.arrays())
            return None
        logits = output[:, -1, :]
        mx.eval(logits, live.caches.arrays())
        return live.sampler.choose(logits, live.history)


def _contiguous(leaf: Any) -> Any:
    return mx.contiguous(leaf) if isinstance(leaf, mx.array) else leaf
