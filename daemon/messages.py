"""What ranks say to each other about steps: plain frozen data, no behaviour.

Neutral ground between `engine` (which decides) and `execution` (which computes); neither imports
the other. Everything here crosses the wire through `comm.codec`, which knows these classes by name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token of one sequence is chosen. The defaults are greedy and unmodified."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """1 is off."""
    top_k: int = 0
    """0 is off."""
    min_p: float = 0.0
    """0 is off."""
    seed: int = 0
    """Start of the sequence's own chain of keys, one `mx.random.split` per token."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    """1 is off. Counts the prompt too; the other two penalties count the answer only."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    grammar: str = ""
    """What the answer must be, as llguidance writes grammars; empty: anything."""
    prompt_logprobs: bool = False
    """Score the prompt's own tokens too. Such a prompt is run as a whole, whatever is cached."""


@dataclass(frozen=True, slots=True)
class OpenSequence:
    """Make room for a sequence. Its tokens follow as rows, from the first one."""

    sequence_id: int
    sampling: SamplingParams
    prompt_length: int
    """Tokens of the prompt; what rows bring after that many was generated earlier."""
    generated: int = 0
    """Tokens generated before an earlier loss: the chain of keys goes on after that many."""
    stop_ids: tuple[int, ...] = ()
    """With a grammar: what may be chosen once the answer is complete."""
    blocks: tuple[int, ...] = ()
    """Blocks of the prefix cache that hold its first tokens, in order; rows go on after them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence's part of a step."""

    sequence_id: int
    tokens: tuple[int, ...]
    """Ids to run, after those of earlier steps: one in decode, a chunk in prefill."""
    sample: bool
    """Whether the last rank chooses a token after this row's last position."""
    keep: int = 0
    """Block of the prefix cache to make of these tokens once they have run; 0: none."""
    snapshot: bool = False
    """Whether that block also keeps what can't be cut: windows and recurrent states."""


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """Tokens [start, stop) of a sequence, to be kept as a block of the prefix cache."""

    block_id: int
    sequence_id: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of work for every rank, carried along the pipeline with the hidden states."""

    epoch: int
    number: int
    opened: tuple[OpenSequence, ...] = ()
    """Applied before the rows."""
    closed: tuple[int, ...] = ()
    """Sequences to forget; applied before `opened`."""
    rows: tuple[Row, ...] = ()
    kept: tuple[KeptBlock, ...] = ()
    """Made of sequences that are about to close; applied first."""
    dropped: tuple[int, ...] = ()
    """Blocks to forget; applied after `opened`, which may begin with them, and before the rows."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptScores:
    """Natural logs under the model for every token of a prompt but the first (NumPy arrays)."""

    logprobs: Any
    """(n,) float32."""
    top_tokens: Any
    """(n, top_logprobs) int32, best first."""
    top_logprobs: Any
    """(n, top_logprobs) float32."""


@dataclass(frozen=True, slots=True)
class TokenOut:
    """A token that the last rank chose."""

    sequence_id: int
    token: int
    logprob: float = 0.0
    """Natural log under the model, before temperature; only if asked for."""
    top: tuple[tuple[int, float], ...] = ()
    """(token, logprob), best first."""
    error: str = ""
    """Why none could be chosen (then ``token`` means nothing): this sequence alone ends."""
    later: bool = False
    """None could be chosen yet: the sequence is to be run again, from its first token."""
    prompt: PromptScores | None = None
    """With the first token, if asked for."""


@dataclass(frozen=True, slots=True)
class StepFrame:
    """A step on its way, with what the previous rank computed for it."""

    step: Step
    hidden: Any = None
    """Boundary value(s) of the previous stage; what they look like is execution's business."""
    error: str = ""
    """Why an earlier rank failed in this step: later ones skip the rows and pass it on."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What came of a step, from the last rank (or from the one that failed) to rank 0."""

    epoch: int
    number: int
    tokens: tuple[TokenOut, ...] = ()
    error: str = ""
    """Why the step failed, in words; its sequences are dropped on every rank."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rank owns which layers, the same on every rank before anyone loads."""

    fingerprint: str
    """Of the model: config and the weights' headers."""
    ranges: tuple[tuple[int, int], ...]
    """Rank r owns layers [lo, hi) = ranges[r]."""

    @property
    def digest(self) -> str:
        """Hash that every rank compares."""
        text = json.dumps([self.fingerprint, self.ranges])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker asks rank 0 to take part."""

    rank: int
    boot_id: str
    fingerprint: str
    memory_limit_bytes: int
    epoch: int = 0
    """The last one it was assigned: a new leader goes on above the highest."""
    bandwidth_gb_s: float = 0.0
    """Of its memory, 0 if not known. Decides the shares of layers if all ranks know theirs."""
    free_cuts: bool = False
    """Whether on its device a prompt gives the same bits wherever it is cut."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Rank 0 does not take this rank in, and asking again would not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Assign:
    """Rank 0 starts an epoch: load what the plan gives you, drop every sequence, answer Ready."""

    epoch: int
    plan: Plan
    digest: str
    """As rank 0 computed it; a rank that computes another one refuses."""
    kv_capacity_bytes: tuple[int, ...] = ()
    """What the caches of each rank may grow to, for its operator to see; empty: no bound."""

    def kv_capacity_of(self, rank: int) -> int:
        """Of one rank; 0 without a bound."""
        return self.kv_capacity_bytes[rank] if self.kv_capacity_bytes else 0


@dataclass(frozen=True, slots=True)
class Ready:
    """A rank has its layers and waits for steps of this epoch."""

    epoch: int
    rank: int
    error: str = ""
    """Why it can't, in words; the cluster does not start then."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """A rank tells rank 0 about its link to another one."""

    rank: int
    peer: int
    up: bool


@dataclass(frozen=True, slots=True)
class Drain:
    """A rank tells rank 0 that it is to be taken out of work, or (``on`` false) may work again."""

    rank: int
    on: bool


@dataclass(frozen=True, slots=True)
class Drained:
    """Rank 0 tells a rank that drains: nothing will be asked of it."""

    rank: int
