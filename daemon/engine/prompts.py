"""Prompts on their way through the stages: whose runs next, what is found of it, what is kept.

The scheduler's other half, as pure as it. Owns the line of sequences whose prompts run, and what
the stages are told to keep; knows no decoding, and not when prompts have their turn.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.engine.prefix_index import Block
from daemon.engine.sequences import Sequence
from daemon.messages import KeptBlock, OpenSequence, Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.engine.prefix_index import PrefixIndex, Room


@dataclass
class Work:
    """A step while it is put together, and while it is in flight."""

    members: list[Sequence] = field(default_factory=list[Sequence])
    opened: list[OpenSequence] = field(default_factory=list[OpenSequence])
    rows: list[Row] = field(default_factory=list[Row])
    blocks: list[tuple[Block, int]] = field(default_factory=list[tuple[Block, int]])
    """Blocks that the step keeps, and the sequence of each."""
    prompt_tokens: int = 0
    among_streams: bool = False


class Prompts:
    """The line, and what is under way of it."""

    def __init__(self, index: PrefixIndex, keeps: Room, cut: int, *, reuse: bool) -> None:
        """Begin with an empty line.

        Args:
            index: of what the stages hold.
            keeps: whether they have memory to keep more.
            cut: tokens of one forward of a prompt, and of a block.
            reuse: whether the stages keep anything.
        """
        self._index = index
        self._keeps = keeps
        self._cut = cut
        self._reuse = reuse
        self._line: deque[Sequence] = deque()
        self._keeping: list[tuple[Block, KeptBlock]] = []
        self.lookup_tokens = 0
        """Prompt tokens that were looked up in the prefix cache."""
        self.hit_tokens = 0
        """Those that were found, and not run."""

    @property
    def any(self) -> bool:
        """Whether there is a prompt to run."""
        return bool(self._line)

    def add(self, sequence: Sequence) -> None:
        """Go to the end of the line."""
        self._line.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Leave the line, if it stands in it."""
        if sequence in self._line:
            self._line.remove(sequence)

    def restart(self, sequences: Iterable[Sequence]) -> None:
        """The stages have lost everything: a new line."""
        self._line = deque(sequences)
        self._keeping = []

    def portion(self, work: Work, room: int) -> None:
        """Add up to ``room`` tokens of prompts, in turn: short ones share, a long one fills it.

        Who was not done goes to the back, so that a short prompt never waits for a long one. A
        prompt is cut at multiples of the cut only, whoever else is there: same cuts, same bits.
        """
        for _ in range(len(self._line)):
            if work.members and room < max(1, self._line[0].remaining_prefill):
                break
            sequence = self._line.popleft()
            done = False
            if self._open(sequence, work):
                room, done = self._run_prompt(sequence, work, room)
            if not done:
                self._line.append(sequence)

    def take_kept(self, work: Work) -> tuple[KeptBlock, ...]:
        """What the stages are to keep of answers that have ended; from now on part of ``work``."""
        orders = tuple(order for _, order in self._keeping)
        work.blocks += [(block, order.sequence_id) for block, order in self._keeping]
        self._keeping = []
        return orders

    def keep_answer(self, sequence: Sequence) -> None:
        """Keep prompt and answer of a sequence that has ended."""
        for block, start in self._index.extend(sequence.tokens[: sequence.fed], self._keeps):
            order = KeptBlock(block.block_id, sequence.sequence_id, start, start + self._cut)
            self._keeping.append((block, order))

    def disown(self, work: Work, in_flight: Iterable[Work]) -> None:
        """A step has failed: what was kept in it, or later of its sequences, is nowhere whole."""
        failed = {sequence.sequence_id for sequence in work.members}
        doubtful = [block for block, _ in work.blocks]
        for other in in_flight:
            doubtful += [block for block, owner in other.blocks if owner in failed]
        doubtful += [block for block, order in self._keeping if order.sequence_id in failed]
        self._keeping = [item for item in self._keeping if item[1].sequence_id not in failed]
        for block in doubtful:
            self._index.discard(block)

    def _open(self, sequence: Sequence, work: Work) -> bool:
        """Find what the stages hold of it; False while somebody else is running that."""
        if sequence.opened:
            return True
        claim = None
        if self._reuse and sequence.reuses_prefix:
            claim = self._index.claim(sequence, sequence.tokens)
            if claim is None:
                return False
        work.opened.append(sequence.open(claim, self._cut))
        self.lookup_tokens += sequence.length if claim else 0
        self.hit_tokens += sequence.fed
        return True

    def _run_prompt(self, sequence: Sequence, work: Work, room: int) -> tuple[int, bool]:
        """Rows for the next tokens of a prompt: (room left, whether its last one is among them)."""
        work.members.append(sequence)
        while room > 0 or not sequence.remaining_prefill:
            number = sequence.fed // self._cut
            row = sequence.next_row(self._cut)
            if len(row.tokens) == self._cut and not row.sample:
                row = self._kept(sequence, number, row, work)
            work.rows.append(row)
            work.prompt_tokens += len(row.tokens)
            if row.sample:
                return room, True
            room -= len(row.tokens)
        return room, False

    def _kept(self, sequence: Sequence, number: int, row: Row, work: Work) -> Row:
        """The row, with what the stages are to keep of it."""
        claim = sequence.claim
        kept = self._index.keep(claim, number, self._keeps) if claim else None
        if kept is None:
            return row
        block, snapshot = kept
        work.blocks.append((block, sequence.sequence_id))
        return Row(row.sequence_id, row.tokens, row.sample, block.block_id, snapshot)
