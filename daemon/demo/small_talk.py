"""Small talk: greetings, what the model is, and what it does not know."""

import random
from dataclasses import replace

from daemon.demo import facts
from daemon.demo.turn import Memory, Topic, Turn, said
from daemon.demo.wording import normalised, worded
from daemon.demo.wordings import WORDINGS

UNKNOWN = "I am only a tiny demo model and do not know that."
ABOUT = "I am a tiny demo model that runs in mlxconsole."

_REPLIES = (
    # kind, share, answer, thought
    ("greet", 6, "Hello! How can I help you?", "The user greets me."),
    ("how", 3, "I am fine, thank you! How can I help you?", "The user asks how I am."),
    (
        "made",
        1,
        "A script in mlxconsole trained me on conversations that it made up.",
        "The user asks who made me.",
    ),
    (
        "size",
        1,
        "I am tiny: 8 layers and less than two million weights.",
        "The user asks about my size.",
    ),
    (
        "console",
        1,
        "mlxconsole cuts a model into slices of layers and serves it from many ranks.",
        "The user asks about mlxconsole.",
    ),
    ("human", 1, "No, I am only a tiny demo model.", "The user asks if I am human."),
    (
        "skills",
        2,
        "I know capitals, sums up to 100, counting, colours and animals, and I remember your name.",
        "The user asks what I can do.",
    ),
    ("thanks", 3, "You are welcome!", "The user thanks me."),
    ("praise", 1, "I am glad! What else can I do for you?", "The user is content."),
    ("test", 1, "It works! I am here.", "The user tests me."),
    ("bye", 2, "Goodbye!", "The user leaves."),
)


def _reply(kind: str, answer: str, thought: str) -> Topic:
    def topic(rng: random.Random, memory: Memory) -> Turn:
        return said(kind, worded(rng, WORDINGS[kind]), answer, thought, memory)

    return topic


REPLIES: dict[Topic, int] = {
    _reply(kind, answer, thought): share for kind, share, answer, thought in _REPLIES
}
"""Topics of one fixed answer each, with their shares."""


def who(rng: random.Random, memory: Memory) -> Turn:
    """Ask who the model is; a persona from the system prompt changes its name."""
    cores = WORDINGS["who"]
    wording = worded(rng, cores)
    if memory.persona is None:
        return said("who", wording, ABOUT, "The user asks who I am.", memory, "tiny demo model")
    answer = f"I am {memory.persona}, a tiny demo model that runs in mlxconsole."
    turn = said("persona", wording, answer, f"My name is {memory.persona}.", memory)
    return replace(turn, key=f"name:{memory.persona.lower()}", must=(f"I am {memory.persona}",))


def unknown(rng: random.Random, memory: Memory) -> Turn:
    """Ask for something that the model does not know."""
    cores = WORDINGS["unknown.odd"] if rng.random() < 0.5 else WORDINGS["unknown.asked"]
    slots = {
        "t": rng.choice(WORDINGS["unknown.themes"]),
        "p": facts.place(rng),
        "n": facts.person(rng),
        "a": rng.randint(2, 99),
        "b": rng.randint(2, 99),
    }
    wording = worded(rng, cores, **slots)
    key = f"unknown:{normalised(wording.text)}"
    thought = "I do not know that."
    return Turn("unknown", wording.text, UNKNOWN, thought, ("tiny demo model",), key, memory)
