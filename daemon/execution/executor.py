"""Applies steps to one stage: opens and closes sequences, runs rows, chooses tokens.

Knows no network. Every call is made on the one engine thread; the numbers in the properties may be
read from any.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_map

from daemon.errors import StepFailed
from daemon.execution.passes import Pass, passes_of
from daemon.execution.pool import CachePool
from daemon.execution.prefix_store import PrefixStore
from daemon.execution.sampling import Sampler
from daemon.execution.skeleton import arrays_in

if TYPE_CHECKING:
    from daemon.execution.grammar import Grammars
    from daemon.execution.sampling import Picked
    from daemon.execution.stage import Stage, StageCaches
    from daemon.messages import KeptBlock, OpenSequence, Step, TokenOut

log = logging.getLogger(__name__)

STEPS_PER_CLEARING = 256
"""MLX keeps freed buffers for reuse; like mlx-lm we give them back now and then."""
STEPS_PER_COUNT = 16
"""Counting the bytes of all caches takes a moment, so decoding steps don't do it each time."""


@dataclass
class _Live:
    """A sequence on this stage, besides its caches."""

    sampler: Sampler | None
    """On the last stage only."""
    history: list[int] = field(default_factory=list[int])


class StageExecutor:
    """One stage and the sequences that live on it."""

    def __init__(
        self, stage: Stage, grammars: Grammars | None = None, *, batching: bool | None = None
    ) -> None:
        """Wrap ``stage``.

        Args:
            stage: with its weights in memory.
            grammars: for sequences that have one, on the last stage.
            batching: decode sequences together wherever their caches can be merged, or never;
                None: where that is known to change no bit.
        """
        self._stage = stage
        self._grammars = grammars
        self._pool = CachePool(stage, batching=batching)
        self._prefixes = PrefixStore(stage)
        self._live: dict[int, _Live] = {}
        self._steps = 0
        self.weights_bytes = stage.weight_bytes
        """Bytes of this stage's weights."""
        self.kv_bytes = 0
        """Bytes of the caches of all sequences, as of a few steps ago."""

    @property
    def prefix_bytes(self) -> int:
        """Bytes of the prefix cache."""
        return self._prefixes.nbytes

    @property
    def sequences(self) -> int:
        """Sequences that are open."""
        return len(self._live)

    @property
    def batching(self) -> bool:
        """Whether this stage can run decoding sequences together."""
        return self._pool.batching

    def reset(self) -> None:
        """Drop all sequences and cached prefixes."""
        self._live.clear()
        self._pool.clear()
        self._prefixes.clear()
        self.kv_bytes = 0
        mx.clear_cache()

    def run(self, step: Step, hidden: Any) -> list[Any] | tuple[TokenOut, ...]:
        """Apply ``step``: keep, close, open, drop, then run its rows.

        Args:
            step: what to do.
            hidden: None on the first stage, else what the stage before returned for this step.

        Returns:
            One item per pass (see `passes`), evaluated and contiguous; on the last stage the
            tokens chosen, in row order.

        Raises:
            StepFailed: a row can't be run; the sequences of the step are dropped on this stage,
                all others are as before.
        """
        for kept in step.kept:
            self._keep_closing(kept)
        for sequence_id in step.closed:
            self._drop(sequence_id)
        for opened in step.opened:
            self._open(opened)
        for block_id in step.dropped:
            self._prefixes.drop(block_id)
        passes = passes_of(step.rows)
        try:
            results = self._run_passes(passes, hidden)
        # Whatever the model or MLX raises must cost these sequences only.
        except Exception as error:
            for row in step.rows:
                self._drop(row.sequence_id)
            raise StepFailed(f"step {step.number}: {error}") from error
        self._account(passes, changed=bool(step.closed or step.opened or step.dropped))
        if not self._stage.is_last:
            return results
        return tuple(token for tokens in results for token in tokens)

    def _open(self, opened: OpenSequence) -> None:
        sampler = self._sampler(opened) if self._stage.is_last else None
        if not opened.blocks:
            self._pool.open(opened.sequence_id)
            self._live[opened.sequence_id] = _Live(sampler)
            return
        prefix = self._prefixes.open(opened.blocks)
        if prefix is None:  # its rows will say that it is not open
            log.error("prefix_missing", extra={"fields": {"sequence": opened.sequence_id}})
            return
        self._pool.open(opened.sequence_id, prefix.caches)
        self._live[opened.sequence_id] = _Live(sampler, prefix.tokens)

    def _keep_closing(self, kept: KeptBlock) -> None:
        """Make a block of a sequence that ends."""
        live = self._live.get(kept.sequence_id)
        if live is not None:  # else its last step has failed
            tokens = live.history[kept.start : kept.stop]
            caches = self._pool.alone(kept.sequence_id)
            self._prefixes.keep(kept.block_id, tokens, caches, kept.start, snapshot=False)

    def _keep_chunk(self, item: Pass) -> None:
        """Make a block of the chunk that has just run."""
        (sequence_id,), (tokens,) = item.sequence_ids, item.tokens
        caches = self._pool.alone(sequence_id)
        start = caches.length - len(tokens)
        self._prefixes.keep(item.keep, tokens, caches, start, snapshot=item.snapshot)

    def _sampler(self, opened: OpenSequence) -> Sampler:
        grammar = opened.sampling.grammar
        if not grammar:
            return Sampler(opened)
        if self._grammars is None:
            raise StepFailed("this stage was made without grammars")
        return Sampler(opened, self._grammars.open(grammar, opened.stop_ids))

    def _drop(self, sequence_id: int) -> None:
        self._live.pop(sequence_id, None)
        self._pool.close(sequence_id)

    def _account(self, passes: tuple[Pass, ...], *, changed: bool) -> None:
        self._steps += 1
        if changed or not self._steps % STEPS_PER_COUNT or any(not p.sample for p in passes):
            self.kv_bytes = self._pool.nbytes
        if self._steps % STEPS_PER_CLEARING == 0:
            mx.clear_cache()

    def _run_passes(self, passes: tuple[Pass, ...], hidden: list[Any] | None) -> list[Any]:
        unknown = [i for item in passes for i in item.sequence_ids if i not in self._live]
        if unknown:
            raise StepFailed(f"sequence {unknown[0]} is not open on this rank")
        received: list[Any] = [None] * len(passes)
        if not self._stage.is_first:
            received = list(hidden or ())
            if len(received) != len(passes):
                raise StepFailed(f"{len(received)} boundary values for {len(passes)} passes")
        return [self._run(item, value) for item, value in zip(passes, received, strict=True)]

    def _run(self, item: Pass, received: Any) -> Any:
        """One pass: a boundary item, or on the last stage a tuple of tokens."""
        for sequence_id, tokens in zip(item.sequence_ids, item.tokens, strict=True):
            self._live[sequence_id].history.extend(tokens)
        if self._pool.fits_together(item.sequence_ids):
            forwards = [self._forward_batch(item, received)]
        else:
            values = _split(received, len(item.sequence_ids))
            rows = zip(item.sequence_ids, item.tokens, values, strict=True)
            forwards = [self._forward_alone(*row, sample=item.sample) for row in rows]
        # What decoding leaves lazy in caches is part of the next forward; mlx-lm does likewise.
        settle = not item.sample or self._steps % STEPS_PER_COUNT == 0
        outputs = [output for output, _ in forwards]
        caches = [array for _, held in forwards for array in held.arrays()] if settle else []
        if self._stage.is_last and item.sample:
            logits = [row for output in outputs for row in _rows(output)]
            return self._choose(item.sequence_ids, logits, caches)
        if not self._stage.is_last:
            outputs = [tree_map(_contiguous, output) for output in outputs]
            mx.eval(arrays_in(outputs), caches)
        else:
            read = [] if item.sample else self._read_prompts(item, outputs)
            mx.eval(caches, read)
        if item.keep:
            self._keep_chunk(item)
        if self._stage.is_last:
            return ()
        return outputs[0] if len(outputs) == 1 else outputs

    def _read_prompts(self, item: Pass, outputs: list[Any]) -> list[mx.array]:
        """Let those who want to know see what the model says of their prompts, lazily."""
        arrays: list[mx.array] = []
        for sequence_id, tokens, logits in zip(
            item.sequence_ids, item.tokens, outputs, strict=True
        ):
            sampler = self._live[sequence_id].sampler
            if sampler is not None:
                arrays += sampler.read_prompt(tokens, logits)
        return arrays

    def _forward_batch(self, item: Pass, received: Any) -> tuple[Any, StageCaches]:
        batch = self._pool.together(item.sequence_ids)
        output = self._stage.forward(mx.array(item.tokens), _stack(received), batch.caches)
        batch.ran(1)
        return output, batch.caches

    def _forward_alone(
        self, sequence_id: int, tokens: tuple[int, ...], received: Any, *, sample: bool
    ) -> tuple[Any, StageCaches]:
        caches = self._pool.alone(sequence_id)
        sampler = self._live[sequence_id].sampler
        logits = sample or (sampler is not None and sampler.reads_prompt)
        ids = mx.array([tokens])
        return self._stage.forward(ids, received, caches, logits=logits), caches

    def _choose(
        self, sequence_ids: tuple[int, ...], logits: list[mx.array], caches: list[mx.array]
    ) -> tuple[TokenOut, ...]:
        """One evaluation for the forward and all choices: a GPU would wait at each."""
        picks: list[tuple[Sampler, Picked]] = []
        for sequence_id, row in zip(sequence_ids, logits, strict=True):
            live = self._live[sequence_id]
            if live.sampler is not None:
                picks.append((live.sampler, live.sampler.pick(row, live.history)))
        mx.eval([arrays_in(pick) for _, pick in picks], caches)
        return tuple(sampler.finish(pick) for sampler, pick in picks)


def _rows(logits: mx.array) -> list[mx.array]:
    """(batch, length, vocabulary) -> per row (1, vocabulary), of the last position."""
    return [logits[row : row + 1, -1, :] for row in range(logits.shape[0])]


def _stack(received: Any) -> Any:
    """One value with a row per sequence, from what arrived."""
    if not isinstance(received, list):
        return received
    return tree_map(
        lambda *leaves: (
            mx.concatenate(list(leaves)) if isinstance(leaves[0], mx.array) else leaves[0]
        ),
        *received,
    )


def _split(received: Any, count: int) -> list[Any]:
    """A value per sequence, from what arrived."""
    if isinstance(received, list) and len(received) == count and count > 1:
        return received
    if count == 1 or received is None:
        return [received] * count

    def row(leaf: Any, at: int) -> Any:
        return leaf[at : at + 1] if isinstance(leaf, mx.array) else leaf

    return [tree_map(lambda leaf, at=at: row(leaf, at), received) for at in range(count)]


def _contiguous(leaf: Any) -> Any:
    return mx.contiguous(leaf) if isinstance(leaf, mx.array) else leaf
