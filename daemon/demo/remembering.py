"""What the user tells about a name and a number, and asks for later."""

import random
from dataclasses import replace

from daemon.demo import facts
from daemon.demo.turn import Memory, Turn, said
from daemon.demo.wording import worded
from daemon.demo.wordings import WORDINGS

TOLD = ("tell_name", "tell_number")
"""Kinds of turns that tell something to remember."""


def tell_name(rng: random.Random, memory: Memory) -> Turn:
    """Tell the user's name."""
    name = facts.person(rng)
    cores = WORDINGS["tell_name"]
    wording = worded(rng, cores, n=name)
    shown = wording.as_typed(name)
    answer = f"Nice to meet you, {shown}!"
    key = f"name:{name.lower()}"
    after = replace(memory, name=shown)
    thought = f"The user's name is {shown}."
    return Turn("tell_name", wording.text, answer, thought, (shown,), key, after)


def recall_name(rng: random.Random, memory: Memory) -> Turn:
    """Ask for the user's name, told before or not."""
    cores = WORDINGS["recall_name"]
    wording = worded(rng, cores)
    if memory.name is None:
        answer, thought = "You have not told me your name.", "The user did not tell a name."
        return said("no_name", wording, answer, thought, memory, "not told")
    answer, thought = f"Your name is {memory.name}.", f"The user said the name {memory.name}."
    key, brief = f"name:{memory.name.lower()}", f"{memory.name}."
    return Turn("recall_name", wording.text, answer, thought, (memory.name,), key, memory, brief)


def tell_number(rng: random.Random, memory: Memory) -> Turn:
    """Tell a number to remember."""
    number = str(rng.randint(0, rng.choice((9, 99, 999, 9999))))
    cores = WORDINGS["tell_number"]
    text = worded(rng, cores, n=number).text
    answer, thought = f"I will remember the number {number}.", f"The number is {number}."
    after = replace(memory, number=number)
    return Turn(
        "tell_number", text, answer, thought, (number,), f"number:{number}", after, ends=True
    )


def recall_number(rng: random.Random, memory: Memory) -> Turn:
    """Ask for the number, told before or not."""
    cores = WORDINGS["recall_number"]
    wording = worded(rng, cores)
    if memory.number is None:
        answer, thought = "You have not told me a number.", "The user did not tell a number."
        return said("no_number", wording, answer, thought, memory, "not told")
    answer, thought = f"The number is {memory.number}.", f"The user said {memory.number}."
    key, must = f"number:{memory.number}", (memory.number,)
    brief = f"{memory.number}."
    return Turn("recall_number", wording.text, answer, thought, must, key, memory, brief, ends=True)
