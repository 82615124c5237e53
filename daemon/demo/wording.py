"""How a question is worded: a core sentence, decorated and varied as people type.

Pure functions of a `random.Random`; what is asked and answered lives in `topics`.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

_PREFIXES = (
    "Please tell me: ",
    "Tell me, ",
    "Hey, ",
    "OK, ",
    "Now, ",
    "And ",
    "So, ",
    "Well, ",
    "Quick question: ",
    "I have a question. ",
    "Hello, ",
    "Hi! ",
    "Thanks. ",
    "One more: ",
)
_SUFFIXES = (" please", ", please", " now", ", my friend")
_DECORATED_SHARE = 0.3
_LOWER_SHARE = 0.12
_NO_END_SHARE = 0.12


@dataclass(frozen=True)
class Wording:
    """One question as typed."""

    text: str
    bare: bool
    """True for a core sentence without prefix or suffix."""

    def as_typed(self, value: str) -> str:
        """Return `value` in the letter case that the question has it in."""
        return value if value in self.text else value.lower()


def normalised(text: str) -> str:
    """Reduce a text to lower-case words, which is what the split and the checkers compare."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def worded(rng: random.Random, cores: Sequence[str], **slots: object) -> Wording:
    """Choose a core sentence, fill its slots, and vary its dress, case and punctuation."""
    core = rng.choice(cores).format(**slots)
    end = core[-1] if core[-1] in "?.!" else ""
    body = core.removesuffix(end)
    prefix = suffix = ""
    if rng.random() < _DECORATED_SHARE:
        if rng.random() < 0.6:
            prefix = rng.choice(_PREFIXES)
        else:
            suffix = rng.choice(_SUFFIXES)
    if prefix.endswith((", ", "And ")) and not re.match(r"I\b|I'm", body):
        body = body[0].lower() + body[1:]
    text = prefix + body + suffix + end
    if rng.random() < _LOWER_SHARE:
        text = text.lower()
    if rng.random() < _NO_END_SHARE:
        text = text.rstrip("?.!")
    return Wording(text, bare=not prefix and not suffix)
