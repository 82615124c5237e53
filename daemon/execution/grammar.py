"""Which tokens a sequence's grammar allows next, by llguidance.

Owns the vocabulary's trie (built in a thread on first use: about a second for 150,000 tokens) and
one matcher per constrained sequence. Knows no logits. Called on the engine thread.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from daemon.text.vocabulary import Spelling, Vocabulary, is_mark, spelling_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from llguidance import LLMatcher, LLTokenizer

WAIT_S = 0.2
"""For the trie and the grammar, which are made while the prompt runs; other streams wait too."""


class GrammarFailed(Exception):
    """A sequence can't go on under its grammar; the text says why."""


class GrammarNotReady(Exception):
    """It is still being made: the sequence has to come again."""


class Grammars:
    """Makes the constraints of one model's sequences."""

    def __init__(self, tokenizer_file: Path) -> None:
        self._file = tokenizer_file
        self._trie: LLTokenizer | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")

    def open(self, grammar: str, stop_ids: tuple[int, ...]) -> Constraint:
        """The constraint of a sequence, in the making."""
        return Constraint(self._thread.submit(self._matcher, grammar), stop_ids)

    def _matcher(self, grammar: str) -> tuple[LLMatcher, int]:
        # Only who asks for a grammar pays for this import.
        from llguidance import LLMatcher  # noqa: PLC0415

        if self._trie is None:
            self._trie = _build_trie(self._file)
        return LLMatcher(self._trie, grammar, log_level=0), self._trie.eos_token


class Constraint:
    """The state of one sequence's grammar: a function of its answer so far."""

    def __init__(self, matcher: Future[tuple[LLMatcher, int]], stop_ids: tuple[int, ...]) -> None:
        """``matcher``: and the number of tokens that it knows."""
        self._making = matcher
        self._stop_ids = list(stop_ids)
        self._consumed = 0

    def allowed(self, answer: Sequence[int], vocabulary: int) -> np.ndarray:
        """Whether each token may follow ``answer``, (vocabulary,) bool.

        Args:
            answer: all ids of the answer so far; it only grows from call to call.
            vocabulary: tokens that the model can choose from.

        Raises:
            GrammarFailed: no token may follow.
            GrammarNotReady: nothing is known yet.
        """
        matcher, size = self._ready()
        new = list(answer[self._consumed :])
        self._consumed += len(new)
        if not matcher.consume_tokens(new):
            raise GrammarFailed(f"the answer left its grammar: {_first_line(matcher)}")
        bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        known = np.unpackbits(bits, bitorder="little")[: min(size, vocabulary)]
        allowed = np.zeros(vocabulary, bool)
        allowed[: known.size] = known
        ends = [token for token in self._stop_ids if token < vocabulary]
        allowed[ends] = matcher.is_accepting()
        if not allowed.any():
            raise GrammarFailed(f"the grammar allows no token: {_first_line(matcher)}")
        return allowed

    def _ready(self) -> tuple[LLMatcher, int]:
        try:
            matcher, size = self._making.result(WAIT_S)
        except TimeoutError:
            raise GrammarNotReady from None
        except (OSError, ValueError, KeyError) as error:
            raise GrammarFailed(f"the tokenizer can't be constrained: {error}") from error
        if matcher.is_error():
            raise GrammarFailed(f"the grammar can't be used: {_first_line(matcher)}")
        return matcher, size


def _first_line(matcher: LLMatcher) -> str:
    return matcher.get_error().partition("\n")[0] or "it is complete"


class _Tokens:
    """The vocabulary in the shape that llguidance wants.

    Its own reader of tokenizer.json holds the interpreter for seconds, and would write a mark
    such as `<think>` as one special token even where the grammar asks for its text.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, spelt: list[bytes], special_ids: list[int]) -> None:
        # llguidance wants one end of all answers; ours are the stop ids of each request.
        self.eos_token_id = len(spelt)
        self.tokens = [*spelt, b"<|end|>"]
        self.special_token_ids = [*special_ids, self.eos_token_id]
        self.trie: LLTokenizer | None = None

    def __call__(self, text: str) -> list[int]:
        """Ordinary tokens that spell ``text``, for what the grammar leaves no choice about."""
        return self.trie.greedy_tokenize(text) if self.trie else []


def _build_trie(tokenizer_file: Path) -> LLTokenizer:
    from llguidance import LLTokenizer  # noqa: PLC0415 - see above

    spelling = spelling_of(tokenizer_file)
    if spelling is Spelling.OTHER:
        raise ValueError(f"{tokenizer_file} does not spell its tokens as bytes")
    content = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    names, special = _names(content["model"]["vocab"]), set[int]()
    for token in content.get("added_tokens", ()):
        names[token["id"]] = token["content"]
        if is_mark(token["content"], special=token["special"]):
            special.add(token["id"])
    vocabulary = Vocabulary(spelling, names.get, lambda _: "", frozenset(special))
    spelt = [vocabulary.bytes_of(token) for token in range(max(names) + 1)]
    tokens = _Tokens(spelt, sorted(special))
    # The slices speed up masks by less than they cost to prepare.
    tokens.trie = LLTokenizer(tokens, slices=[])  # pyright: ignore[reportArgumentType] - duck type
    return tokens.trie


def _names(vocabulary: Any) -> dict[int, str]:
    """Token names by id; BPE writes name to id, Unigram a list of (name, score)."""
    if isinstance(vocabulary, list):
        return {index: entry[0] for index, entry in enumerate(vocabulary)}
    return {index: name for name, index in vocabulary.items()}
