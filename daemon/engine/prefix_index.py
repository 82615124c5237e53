"""Which prefixes the stages hold, and which go first. Pure; owned by rank 0's engine thread.

Prompts are cut into blocks of a fixed number of tokens. A tree of blocks names what every stage
keeps its own slice of; paths share their beginnings. Stages follow through the operations of the
steps, so a block counts as there only when the step that made it has come back.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Room = Callable[[int, int], bool]
"""Whether that many blocks, that many of them with a snapshot, have room on every rank."""


@dataclass(eq=False)
class Block:
    """The tokens after those of its parent."""

    tokens: tuple[int, ...]
    parent: Block | None
    """None: the root, or no longer part of the tree."""
    owner: object | None = None
    """Who is going to run these tokens; None once that is under way."""
    block_id: int = 0
    """0 as long as no stage has been told to keep it."""
    ready: bool = False
    """Every stage has it."""
    snapshot: bool = False
    """Stages with windows or recurrent states can go on from its end."""
    snapshot_planned: bool = False
    """Somebody runs towards its end, to leave a snapshot there."""
    snapshot_counted: bool = False
    """The stages have been told to make one."""
    children: dict[tuple[int, ...], Block] = field(default_factory=dict[tuple[int, ...], "Block"])


@dataclass(eq=False)
class Claim:
    """What one sequence finds in the index, and leaves there while its prompt runs."""

    owner: object
    path: list[Block]
    """Blocks of its prompt; those from ``reused`` on are run by it, and kept if they are new."""
    reused: int
    """Blocks that need not be run."""
    snapshots: frozenset[int] = frozenset()
    """Numbers of the blocks of the path at whose end a snapshot is worth its bytes."""

    @property
    def block_ids(self) -> tuple[int, ...]:
        """What the stages open the sequence from."""
        return tuple(block.block_id for block in self.path[: self.reused])


class PrefixIndex:
    """The tree, in the order of use, and the count of what it holds."""

    def __init__(self, block_tokens: int, *, needs_snapshots: bool = False) -> None:
        """Start empty.

        Args:
            block_tokens: length of every block.
            needs_snapshots: the model has caches that can't be cut anywhere, so that a path is of
                use only up to a block with a snapshot.
        """
        self.block_tokens = block_tokens
        self._needs_snapshots = needs_snapshots
        self._ids = itertools.count(1)
        self.evictions = 0
        """Blocks dropped to make room."""
        self.clear()

    def clear(self) -> None:
        """The stages have lost everything."""
        self._root = Block((), None, ready=True)
        # Least recently used first. A block is always older here than the ones it follows.
        self._order: OrderedDict[Block, None] = OrderedDict()
        self._dropped: list[int] = []
        self.blocks = 0
        """Kept by the stages, or on the way there."""
        self.snapshots = 0
        """How many of them have a snapshot."""

    def claim(self, owner: object, tokens: Sequence[int]) -> Claim | None:
        """What a sequence of these tokens finds; it promises to run the rest.

        One token at least is left to run. None: somebody else is running blocks that it can use,
        so that waiting is better.
        """
        wanted = self._cut(tokens, (len(tokens) - 1) // self.block_tokens)
        path = list(self._walk(wanted))
        found = len(path)
        reused = self._usable(path)
        if any(self._worth_waiting(block) for block in path[reused:]):
            return None
        self._touch(path[:reused])
        if any(not block.ready for block in path):
            return Claim(owner, path[:reused], reused)
        for piece in wanted[found:]:
            path.append(self._grow(path[-1] if path else self._root, piece, owner))
        snapshots: set[int] = set()
        if self._needs_snapshots:
            # Its own end serves the next turn; where it leaves a known path, others will too.
            snapshots = {number for number in (found - 1, len(wanted) - 1) if number >= reused}
        for number in snapshots:
            path[number].snapshot_planned = True
        return Claim(owner, path, reused, frozenset(snapshots))

    def keep(self, claim: Claim, number: int, room: Room) -> tuple[Block, bool] | None:
        """Block ``number`` of a claim runs now: what to keep, and whether with a snapshot.

        Drops what was not used for longest until there is room. None: nothing is to be kept.
        """
        if number >= len(claim.path):
            return None
        block = claim.path[number]
        new = block.owner is claim.owner
        snapshot = number in claim.snapshots and not block.snapshot_counted
        if block.parent is None or not (new or snapshot):
            return None
        while not room(self.blocks + new, self.snapshots + snapshot):
            if not self._evict_one(spare=block):
                self.release(claim)
                return None
        if new:
            self._begin(block)
        block.ready = False  # so that it is not dropped before the step has come back
        self._order.pop(block, None)
        self.snapshots += snapshot
        block.snapshot_counted = block.snapshot_counted or snapshot
        return block, snapshot

    def confirm(self, block: Block) -> None:
        """The step that kept it has come back."""
        if block.parent is not None:
            block.ready = True
            block.snapshot = block.snapshot_counted
            block.snapshot_planned = False
            self._touch([block])

    def discard(self, block: Block) -> None:
        """The step that should have kept it has failed: forget it and what follows it."""
        if block.parent is not None:
            self._remove(block)

    def release(self, claim: Claim) -> None:
        """Its owner runs no more of it: others need not wait."""
        for number in claim.snapshots:
            if number < len(claim.path):
                claim.path[number].snapshot_planned = False
        for number, block in enumerate(claim.path):
            if block.owner is claim.owner:
                self._remove(block)
                del claim.path[number:]
                return

    def extend(self, tokens: Sequence[int], room: Room) -> list[tuple[Block, int]]:
        """Blocks to make of a sequence that ends, and the position of each.

        For models whose caches can be cut, where decoding gives the bits of a prompt.
        """
        wanted = self._cut(tokens, len(tokens) // self.block_tokens)
        path = list(self._walk(wanted))
        if self._needs_snapshots or any(not block.ready for block in path):
            return []
        self._touch(path)
        made: list[tuple[Block, int]] = []
        last = path[-1] if path else self._root
        for number in range(len(path), len(wanted)):
            while not room(self.blocks + 1, self.snapshots):
                if not self._evict_one(spare=last):
                    return made
            last = self._grow(last, wanted[number], None)
            self._begin(last)
            made.append((last, number * self.block_tokens))
        return made

    def shrink(self, fits: Callable[[], bool]) -> bool:
        """Drop what was not used for longest until ``fits``; whether it does in the end."""
        while not fits():
            if not self._evict_one():
                return False
        return True

    def take_dropped(self) -> tuple[int, ...]:
        """Ids that the stages are to forget; told once."""
        dropped, self._dropped = tuple(self._dropped), []
        return dropped

    @property
    def has_dropped(self) -> bool:
        """Whether there are any to be told."""
        return bool(self._dropped)

    def _cut(self, tokens: Sequence[int], count: int) -> list[tuple[int, ...]]:
        size = self.block_tokens
        return [tuple(tokens[at * size : (at + 1) * size]) for at in range(count)]

    def _walk(self, pieces: list[tuple[int, ...]]) -> Iterator[Block]:
        block: Block | None = self._root
        for piece in pieces:
            block = block.children.get(piece)
            if block is None:
                return
            yield block

    def _usable(self, path: list[Block]) -> int:
        """How many blocks of the path a sequence can begin after."""
        usable = 0
        for number, block in enumerate(path, 1):
            if not block.ready:
                break
            if block.snapshot or not self._needs_snapshots:
                usable = number
        return usable

    def _worth_waiting(self, block: Block) -> bool:
        if self._needs_snapshots:
            return block.snapshot_planned
        return not block.ready

    def _grow(self, parent: Block, tokens: tuple[int, ...], owner: object | None) -> Block:
        block = Block(tokens, parent, owner)
        parent.children[tokens] = block
        return block

    def _begin(self, block: Block) -> None:
        block.owner = None
        block.block_id = next(self._ids)
        self.blocks += 1

    def _touch(self, path: Sequence[Block]) -> None:
        """Make the last of these, and all that it follows, the most recently used."""
        block = path[-1] if path else None
        while block is not None and block.parent is not None:
            if block.ready:
                self._order[block] = None
                self._order.move_to_end(block)
            block = block.parent

    def _evict_one(self, spare: Block | None = None) -> bool:
        """Forget the least recently used block that nothing follows; whether there was one."""
        oldest = (block for block in self._order if not block.children and block is not spare)
        block = next(oldest, None)
        if block is None:
            return False
        self._remove(block)
        self.evictions += 1
        return True

    def _remove(self, block: Block) -> None:
        """Take a block and all that follow it out of the tree."""
        if block.parent is not None:
            block.parent.children.pop(block.tokens, None)
        waiting = [block]
        while waiting:
            gone = waiting.pop()
            waiting += gone.children.values()
            gone.children = {}
            gone.parent = gone.owner = None
            gone.ready = False
            self._order.pop(gone, None)
            if gone.block_id:
                self._dropped.append(gone.block_id)
                self.blocks -= 1
                self.snapshots -= gone.snapshot_counted
