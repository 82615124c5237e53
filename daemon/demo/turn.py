"""One question with its reference answer, and what is remembered between questions."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from daemon.demo.wording import Wording, normalised


@dataclass(frozen=True)
class Memory:
    """What the user has told so far, and the name a system prompt gave the model."""

    name: str | None = None
    number: str | None = None
    persona: str | None = None


@dataclass(frozen=True)
class Turn:
    """One question with its reference answer."""

    kind: str
    question: str
    answer: str
    thought: str
    must: tuple[str, ...]
    """Phrases that a right answer contains, as `normalised` words; the last one ends it
    where `ends` is true."""
    key: str | None
    """What the split hashes; None for texts that training always sees."""
    memory: Memory
    """What is remembered after this turn."""
    brief: str | None = None
    """The answer under a system prompt that asks for one word."""
    ends: bool = False


Topic = Callable[[random.Random, Memory], Turn]
"""Asks one question, given what was told before."""


def said(
    kind: str, wording: Wording, answer: str, thought: str, memory: Memory, *must: str
) -> Turn:
    """Build a turn of fixed small talk: its bare wordings are always trained."""
    key = None if wording.bare else f"{kind}:{normalised(wording.text)}"
    return Turn(kind, wording.text, answer, thought, must or (answer,), key, memory)


def fact(
    kind: str, wording: Wording, answer: str, thought: str, memory: Memory, brief: str
) -> Turn:
    """Build a turn about a fact: whole questions are held out, never the fact itself."""
    key = f"{kind}:{normalised(wording.text)}"
    return Turn(kind, wording.text, answer, thought, (brief,), key, memory, brief=f"{brief}.")
