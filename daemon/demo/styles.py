"""One-line system prompts, and what each asks of every answer."""

import random
from dataclasses import dataclass

from daemon.demo import facts
from daemon.demo.remembering import TOLD
from daemon.demo.split import is_held
from daemon.demo.turn import Turn
from daemon.demo.wording import normalised

_UPPER = (
    "in capitals",
    "in capital letters",
    "in upper case",
    "in uppercase",
    "in all caps",
    "with capital letters",
    "in ALL CAPS",
    "in UPPERCASE letters",
    "in big letters",
)
_LOWER = (
    "in lower case",
    "in lowercase",
    "in small letters",
    "without capital letters",
    "in lowercase letters",
    "with small letters",
)
_BRIEF = (
    "with one word",
    "in one word",
    "with a single word",
    "with one word only",
    "in a single word",
    "with just one word",
)
_ORDERS = (
    "{v} {how}.",
    "Always {v} {how}.",
    "Please {v} {how}.",
    "{v} only {how}.",
    "You {v} {how}.",
    "Please always {v} {how}.",
    "You must {v} {how}.",
    "{v} {how}",
    "{v} everything {how}.",
    "You are a helpful assistant. {v} {how}.",
    "{v} {how}!",
    "You always {v} {how}.",
)
_VERBS = ("answer", "answer", "reply", "respond", "write", "speak")
_PERSONAS = (
    "Your name is {n}.",
    "You are {n}.",
    "You are {n}, a friendly assistant.",
    "You are called {n}.",
    "You are an assistant named {n}.",
    "You are a bot called {n}.",
    "Your name is {n}. Be kind.",
    "You are {n}, a helpful robot.",
)
_NEUTRAL = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Be kind.",
    "Be brief.",
    "You are a friendly assistant.",
    "You are a polite assistant.",
    "Answer the questions.",
    "You are a demo model.",
    "Help the user.",
    "You are an AI assistant.",
    "Be concise.",
    "You are a helpful AI assistant. Be concise.",
    "Answer in English.",
)


@dataclass(frozen=True)
class Style:
    """A one-line system prompt and what it asks of every answer."""

    kind: str
    """`plain`, `upper`, `lower`, `brief` or `persona`."""
    prompt: str | None = None
    persona: str | None = None

    def answer(self, turn: Turn) -> str:
        """Return the turn's reference answer under this prompt."""
        if self.kind == "brief" and turn.brief is not None:
            return turn.brief[0].upper() + turn.brief[1:]
        if self.kind == "upper":
            return turn.answer.upper()
        return turn.answer.lower() if self.kind == "lower" else turn.answer


def neutral(rng: random.Random) -> Style:
    """Draw no system prompt, mostly, or one that asks for nothing."""
    return Style("plain", rng.choice(_NEUTRAL) if rng.random() < 0.2 else None)


def demanding(rng: random.Random, *, held: bool) -> Style:
    """Draw a system prompt that asks for something, of the given side of the split."""
    while True:
        kind = rng.choice(("upper", "upper", "lower", "brief", "persona"))
        if kind == "persona":
            name = facts.person(rng)
            drawn = Style(kind, rng.choice(_PERSONAS).format(n=name), name)
            key = f"name:{name.lower()}"
        else:
            how = rng.choice({"upper": _UPPER, "lower": _LOWER, "brief": _BRIEF}[kind])
            prompt = rng.choice(_ORDERS).format(v=rng.choice(_VERBS), how=how)
            drawn = Style(kind, prompt[0].upper() + prompt[1:])
            key = f"style:{normalised(prompt)}"
        if is_held(key) == held:
            return drawn


def fits(style: Style, turn: Turn) -> bool:
    """Leave out what a style can't show, or asks too much of a tiny model."""
    if style.kind == "brief":
        return turn.brief is not None or turn.kind in TOLD
    if style.kind == "upper":
        # Spelling an invented name in capitals is no copying any more.
        told = {"tell_name": turn.memory.name, "recall_name": turn.memory.name}.get(turn.kind)
        return told is None or told in facts.FIRST_NAMES
    return True
