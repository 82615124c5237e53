"""Questions about what the model knows: capitals, sums, counting, colours and animals."""

import random

from daemon.demo import facts
from daemon.demo.turn import Memory, Turn, fact, said
from daemon.demo.wording import normalised, worded
from daemon.demo.wordings import WORDINGS


def capital(rng: random.Random, memory: Memory) -> Turn:
    """Ask for the capital of a country."""
    country, city = rng.choice(tuple(facts.CAPITALS.items()))
    cores = WORDINGS["capital"]
    thought = f"The user asks for the capital of {country}."
    answer = f"The capital of {country} is {city}."
    return fact("capital", worded(rng, cores, c=country), answer, thought, memory, city)


def country_of(rng: random.Random, memory: Memory) -> Turn:
    """Ask which country a capital belongs to."""
    city, country = rng.choice(tuple(facts.capital_countries().items()))
    cores = WORDINGS["country_of"]
    thought = f"The user asks for the country of {city}."
    answer = f"{city} is the capital of {country}."
    return fact("country", worded(rng, cores, c=city), answer, thought, memory, country)


def total(rng: random.Random, memory: Memory) -> Turn:
    """Ask for a sum up to 100; unordered pairs are held out."""
    if rng.random() < 0.25:
        a, b = rng.randint(0, 10), rng.randint(0, 10)
    else:
        a = rng.randint(0, 100)
        b = rng.randint(0, 100 - a)
    cores = WORDINGS["total"]
    middle = f"{(a // 10 + b // 10) * 10} + {a % 10 + b % 10} = " if min(a, b) > 9 else ""
    answer = f"{a} + {b} = {middle}{a + b}."
    # 2 + 2 is what a newcomer tries first.
    key = f"sum:{min(a, b)}:{max(a, b)}" if (a, b) != (2, 2) else None
    text = worded(rng, cores, a=a, b=b).text
    brief = f"{a + b}." if not middle else None
    thought = f"I add {a} and {b}."
    return Turn("sum", text, answer, thought, (str(a + b),), key, memory, brief, ends=True)


def count(rng: random.Random, memory: Memory) -> Turn:
    """Ask to count up or down over a range of at most twenty numbers."""
    way = rng.choice(("to", "to", "range", "down"))
    if way == "to":
        first, last = 1, min(rng.randint(2, 20), rng.randint(2, 20))
        shown = facts.NUMBER_WORDS[last] if rng.random() < 0.2 else last
        cores = WORDINGS["count"]
        wording = worded(rng, cores, b=shown)
        key = None if wording.bare else f"count:{normalised(wording.text)}"
    elif way == "range":
        first = rng.randint(2, 40)
        last = first + rng.randint(2, 8)
        cores = WORDINGS["count.range"]
        wording = worded(rng, cores, a=first, b=last)
        key = f"count:{first}:{last}"
    else:
        first, last = rng.randint(2, 10), 1
        cores = WORDINGS["count.down"]
        wording = worded(rng, cores, a=first)
        key = None if wording.bare else f"count:{normalised(wording.text)}"
    step = 1 if last > first else -1
    answer = ", ".join(map(str, range(first, last + step, step))) + "."
    thought = f"I count from {first} to {last}."
    return Turn("count", wording.text, answer, thought, (answer,), key, memory, ends=True)


def neighbour(rng: random.Random, memory: Memory) -> Turn:
    """Ask for the number after a number."""
    number = rng.randint(0, 99)
    cores = WORDINGS["neighbour"]
    following = str(number + 1)
    answer = f"After {number} comes {following}."
    text = worded(rng, cores, n=number).text
    thought = f"I look for the number after {number}."
    key = f"after:{number}"
    return Turn(
        "next", text, answer, thought, (following,), key, memory, f"{following}.", ends=True
    )


def colour(rng: random.Random, memory: Memory) -> Turn:
    """Ask for the colour of a thing, or of two paints mixed."""
    if rng.random() < 0.25:
        pair = rng.choice(tuple(facts.MIXES))
        mixed = facts.MIXES[pair]
        first, second = rng.sample(pair, 2)
        cores = WORDINGS["mix"]
        wording = worded(rng, cores, a=first, b=second)
        answer = f"{first.capitalize()} and {second} make {mixed}."
        return fact("mix", wording, answer, "The user mixes two colours.", memory, mixed)
    thing, shade = rng.choice(tuple(facts.COLOURS.items()))
    cores = WORDINGS["colour"]
    answer = f"{thing.capitalize()} is {shade}."
    thought = f"The user asks for the colour of {thing}."
    return fact("colour", worded(rng, cores, t=thing), answer, thought, memory, shade)


def sound(rng: random.Random, memory: Memory) -> Turn:
    """Ask for the sound of an animal."""
    animal, noise = rng.choice(tuple(facts.SOUNDS.items()))
    cores = WORDINGS["sound"]
    noun = facts.article(animal)
    answer = f"{noun.capitalize()} says {noise}."
    thought = f"The user asks for the sound of {noun}."
    return fact("sound", worded(rng, cores, n=noun), answer, thought, memory, noise)


def legs(rng: random.Random, memory: Memory) -> Turn:
    """Ask how many legs an animal has."""
    animal, number = rng.choice(tuple(facts.LEGS.items()))
    cores = WORDINGS["legs"]
    noun = facts.article(animal)
    answer = f"{noun.capitalize()} has {number} legs."
    thought = f"The user asks for the legs of {noun}."
    return fact("legs", worded(rng, cores, n=noun), answer, thought, memory, str(number))


def baby(rng: random.Random, memory: Memory) -> Turn:
    """Ask for the name of a young animal."""
    animal, young = rng.choice(tuple(facts.BABIES.items()))
    cores = WORDINGS["baby"]
    answer = f"A baby {animal} is called {facts.article(young)}."
    thought = f"The user asks for the young of {facts.article(animal)}."
    return fact("baby", worded(rng, cores, a=animal), answer, thought, memory, young)


def listing(rng: random.Random, memory: Memory) -> Turn:
    """Ask for some colours or some animals."""
    if rng.random() < 0.5:
        cores = WORDINGS["listing.colours"]
        answer = "Red, blue and green."
    else:
        cores = WORDINGS["listing.animals"]
        answer = "Dog, cat and horse."
    return said("list", worded(rng, cores), answer, "The user wants a list.", memory)
