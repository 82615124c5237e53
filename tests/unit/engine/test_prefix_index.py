"""The prefix index alone: what is found, who waits, what goes first."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.engine.prefix_index import Block, Claim, PrefixIndex

CUT = 4


def ample(blocks: int, snapshots: int) -> bool:
    """A `Room` without bound."""
    return blocks >= snapshots


def run(index: PrefixIndex, claim: Claim | None, *, confirm: bool = True) -> list[Block]:
    """Keep everything that a claim promises, as if its prompt ran."""
    assert claim is not None
    kept: list[Block] = []
    for number in range(claim.reused, len(claim.path)):
        found = index.keep(claim, number, ample)
        if found:
            kept.append(found[0])
    for block in kept if confirm else ():
        index.confirm(block)
    return kept


def warm(tokens: list[int], *, needs_snapshots: bool = False) -> PrefixIndex:
    """An index that has seen these tokens."""
    index = PrefixIndex(CUT, needs_snapshots=needs_snapshots)
    run(index, index.claim("first", tokens))
    return index


def reused(index: PrefixIndex, tokens: list[int], owner: object = "next") -> int:
    """Blocks that a sequence of these tokens finds; it runs nothing."""
    claim = index.claim(owner, tokens)
    assert claim is not None
    index.release(claim)
    return claim.reused


def test_the_same_prompt_again_is_found_but_for_its_last_token() -> None:
    """Somebody must produce the logits of the next token."""
    index = warm(list(range(13)))
    assert reused(index, list(range(13))) == 3
    assert reused(index, list(range(12))) == 2
    assert reused(index, [*range(8), 99, 99]) == 2
    assert reused(index, [99, *range(12)]) == 0


def test_others_wait_for_blocks_that_are_being_run() -> None:
    """Eight choices of one prompt must not run it eight times."""
    index = PrefixIndex(CUT)
    first = index.claim("first", list(range(13)))
    assert index.claim("second", list(range(13))) is None
    kept = run(index, first, confirm=False)
    assert index.claim("second", list(range(13))) is None, "their step has not come back"
    for block in kept:
        index.confirm(block)
    second = index.claim("second", list(range(13)))
    assert second is not None
    assert second.block_ids == tuple(block.block_id for block in kept)


def test_a_promise_that_is_given_up_holds_nobody_up() -> None:
    """The first client leaves; the second runs the prompt itself."""
    index = PrefixIndex(CUT)
    first = index.claim("first", list(range(13)))
    assert first is not None
    index.keep(first, 0, ample)
    index.release(first)
    index.confirm(first.path[0])
    assert reused(index, list(range(13))) == 1


def test_a_failed_step_leaves_nothing() -> None:
    """A block that one rank lacks must not be named to the others."""
    index = PrefixIndex(CUT)
    first = index.claim("first", list(range(13)))
    kept = run(index, first, confirm=False)
    index.discard(kept[1])
    index.confirm(kept[0])
    index.confirm(kept[2])
    assert index.take_dropped() == (kept[1].block_id, kept[2].block_id)
    assert index.take_dropped() == ()
    assert (index.blocks, reused(index, list(range(13)))) == (1, 1)


def test_least_recently_used_leaves_go_first() -> None:
    """A system prompt that everybody uses stays; the tails of old conversations go."""
    index = PrefixIndex(CUT)
    system = list(range(4))
    for tail in range(3):
        run(index, index.claim(tail, [*system, *[50 + tail] * 5]))
    assert reused(index, [*system, *[50] * 5]) == 2
    index.shrink(lambda: index.blocks <= 2)
    found = [reused(index, [*system, *[50 + tail] * 5]) for tail in range(3)]
    assert found == [2, 1, 1]


def test_what_a_running_prompt_stands_on_is_not_dropped() -> None:
    """Its next block would have no parent."""
    index = warm(list(range(9)))
    claim = index.claim("runs", [*range(8), 7, 7, 7, 7, 7])
    assert index.shrink(lambda: index.blocks == 0) is False
    assert index.blocks == 2
    assert len(run(index, claim)) == 1


def test_without_room_nothing_is_kept_and_nobody_waits() -> None:
    """A full cache must not keep prompts from running."""
    index = PrefixIndex(CUT)
    first = index.claim("first", list(range(13)))
    assert first is not None
    assert index.keep(first, 0, lambda _blocks, _snapshots: False) is None
    assert reused(index, list(range(13))) == 0
    assert index.blocks == 0


def test_answers_are_kept_behind_their_prompts() -> None:
    """The next turn of a conversation begins with them."""
    index = warm(list(range(9)))
    made = index.extend(list(range(17)), ample)
    assert [start for _, start in made] == [8, 12]
    assert index.claim("next", list(range(20))) is None, "their step has not come back"
    for block, _ in made:
        index.confirm(block)
    assert reused(index, list(range(20))) == 4


def test_models_with_states_go_on_from_snapshots_only() -> None:
    """A recurrent state can't be cut: only where it was kept can a sequence begin."""
    index = PrefixIndex(CUT, needs_snapshots=True)
    first = index.claim("first", list(range(13)))
    assert first is not None
    assert first.snapshots == {2}
    run(index, first)
    assert reused(index, list(range(13))) == 3
    branch = [*range(8), *[99] * 5]
    claim = index.claim("branch", branch)
    assert claim is not None
    assert (claim.reused, claim.snapshots) == (0, {1, 2})
    run(index, claim)
    assert index.snapshots == 3
    assert reused(index, [*range(8), *[77] * 5]) == 2, "where two parted, a third begins"


TEXTS = st.lists(st.integers(0, 1), min_size=1, max_size=24)


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=12),
    needs_snapshots=st.booleans(),
    capacity=st.integers(0, 8),
    seed=st.integers(0, 1000),
)
@settings(max_examples=300, deadline=None)
def test_what_is_found_was_kept_with_exactly_these_tokens(
    texts: list[list[int]], needs_snapshots: bool, capacity: int, seed: int
) -> None:
    """Whatever is claimed, kept, failed and dropped, in any order; and the bound holds."""
    story = _Story(needs_snapshots, capacity, random.Random(seed))
    for text in texts:
        story.claim(text)
        story.go_on()
        story.obey()
        assert story.index.blocks == len(story.stages) <= capacity
        assert story.index.snapshots <= story.index.blocks


class _Story:
    """Claims in any state, and what the stages hold by what they were told."""

    def __init__(self, needs_snapshots: bool, capacity: int, rng: random.Random) -> None:
        self.index = PrefixIndex(CUT, needs_snapshots=needs_snapshots)
        self.stages: dict[int, tuple[int, ...]] = {}
        self._needs_snapshots = needs_snapshots
        self._capacity = capacity
        self._rng = rng
        self._snapshots: set[int] = set()
        self._claims: list[tuple[Claim, list[int], int]] = []

    def claim(self, text: list[int]) -> None:
        """What is found must be the beginning of the text, and never all of it."""
        claim = self.index.claim(object(), text)
        if claim is None:
            return
        known = [token for block in claim.block_ids for token in self.stages[block]]
        assert known == text[: len(known)]
        assert len(known) < len(text)
        if self._needs_snapshots and claim.block_ids:
            assert claim.block_ids[-1] in self._snapshots
        self._claims.append((claim, text, claim.reused))

    def go_on(self) -> None:
        """Run blocks of some claims; their steps come back, or fail, or they are given up."""
        rng = self._rng
        while self._claims and rng.random() < 0.7:
            claim, text, number = self._claims.pop(rng.randrange(len(self._claims)))
            self._run(claim, text, number)
            if number + 1 < len(claim.path) and rng.random() < 0.8:
                self._claims.append((claim, text, number + 1))
            else:
                self.index.release(claim)

    def obey(self) -> None:
        """The stages drop what they are told to."""
        for gone in self.index.take_dropped():
            del self.stages[gone]

    def _run(self, claim: Claim, text: list[int], number: int) -> None:
        found = self.index.keep(claim, number, lambda blocks, _: blocks <= self._capacity)
        if found is None:
            return
        block, snapshot = found
        self.obey()
        self.stages[block.block_id] = tuple(text[number * CUT : (number + 1) * CUT])
        self._snapshots |= {block.block_id} if snapshot else set()
        settle = self.index.confirm if self._rng.random() < 0.8 else self.index.discard
        settle(block)
