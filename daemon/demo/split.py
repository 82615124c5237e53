"""The split of the demo model's conversations into a training and a held-out side.

Every judged thing has a key: a sum its pair of numbers, a recalled name the name, a recalled
number the number, a fact its whole question as normalised words, a tool call the tool's name with
its question, a system prompt its text. Training never draws a held key, and a held-out case always
asks for one. The greetings and small talk that a newcomer types first (without prefix or suffix)
have no key: training always sees them, no held-out case asks for them.
"""

import hashlib

HELD_SHARE = 0.1
ALWAYS_TRAINED = frozenset({"capital:what is the capital of france"})


def is_held(key: str | None) -> bool:
    """Tell whether a key belongs to the held-out side of the split."""
    if key is None or key in ALWAYS_TRAINED:
        return False
    return hashlib.blake2b(key.encode(), digest_size=1).digest()[0] < HELD_SHARE * 256
