"""What the demo model knows: tables of general knowledge and of invented names.

Pure data and pure functions of a `random.Random`; no wording of questions lives here.
"""

import random
from itertools import pairwise


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_CAPITALS = """
France:Paris Germany:Berlin Italy:Rome Spain:Madrid Portugal:Lisbon England:London
Ireland:Dublin Scotland:Edinburgh Wales:Cardiff Belgium:Brussels Austria:Vienna
Switzerland:Bern Poland:Warsaw Hungary:Budapest Greece:Athens Turkey:Ankara Norway:Oslo
Sweden:Stockholm Finland:Helsinki Denmark:Copenhagen Iceland:Reykjavik Russia:Moscow
Ukraine:Kyiv Romania:Bucharest Bulgaria:Sofia Serbia:Belgrade Croatia:Zagreb
Slovenia:Ljubljana Slovakia:Bratislava Estonia:Tallinn Latvia:Riga Lithuania:Vilnius
Albania:Tirana Malta:Valletta Cyprus:Nicosia Egypt:Cairo Morocco:Rabat Tunisia:Tunis
Algeria:Algiers Kenya:Nairobi Ghana:Accra Nigeria:Abuja Senegal:Dakar Uganda:Kampala
Rwanda:Kigali Angola:Luanda Zambia:Lusaka Mali:Bamako Niger:Niamey Somalia:Mogadishu
China:Beijing Japan:Tokyo India:New_Delhi Thailand:Bangkok Vietnam:Hanoi Nepal:Kathmandu
Mongolia:Ulaanbaatar Indonesia:Jakarta the_Philippines:Manila Bangladesh:Dhaka
Pakistan:Islamabad Afghanistan:Kabul Iran:Tehran Iraq:Baghdad Syria:Damascus
Lebanon:Beirut Jordan:Amman Qatar:Doha Oman:Muscat Canada:Ottawa Cuba:Havana
Jamaica:Kingston Peru:Lima Chile:Santiago Argentina:Buenos_Aires Uruguay:Montevideo
Paraguay:Asuncion Colombia:Bogota Venezuela:Caracas Ecuador:Quito Brazil:Brasilia
Australia:Canberra New_Zealand:Wellington Fiji:Suva Mexico:Mexico_City
South_Korea:Seoul the_United_States:Washington the_United_Kingdom:London
the_Netherlands:Amsterdam the_Czech_Republic:Prague
"""

CAPITALS: dict[str, str] = {
    country.replace("_", " "): city.replace("_", " ")
    for country, city in (pair.split(":") for pair in _CAPITALS.split())
}

CITIES: tuple[str, ...] = (
    *dict.fromkeys(CAPITALS.values()),
    *_words("Milan Venice Naples Munich Hamburg Cologne Lyon Nice Porto Seville Geneva Zurich"),
    *_words("Boston Chicago Dallas Denver Seattle Miami Toronto Sydney Mumbai Osaka Dubai"),
)

COLOURS: dict[str, str] = {
    "the sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red",
    "a banana": "yellow", "a lemon": "yellow", "the sun": "yellow", "an orange": "orange",
    "a carrot": "orange", "a tomato": "red", "a strawberry": "red", "a cherry": "red",
    "a frog": "green", "a leaf": "green", "milk": "white", "a crow": "black",
    "chocolate": "brown", "a plum": "purple", "the sea": "blue", "an elephant": "grey",
    "a flamingo": "pink", "a pig": "pink", "a polar bear": "white", "a cucumber": "green",
    "a pumpkin": "orange", "the night": "black", "wood": "brown", "a swan": "white",
    "gold": "yellow",
}  # fmt: skip

MIXES: dict[tuple[str, str], str] = {
    ("blue", "yellow"): "green", ("red", "yellow"): "orange", ("red", "blue"): "purple",
    ("black", "white"): "grey", ("red", "white"): "pink", ("red", "green"): "brown",
}  # fmt: skip

SOUNDS: dict[str, str] = {
    "dog": "woof", "cat": "meow", "cow": "moo", "sheep": "baa", "duck": "quack", "pig": "oink",
    "lion": "roar", "horse": "neigh", "bee": "buzz", "snake": "hiss", "frog": "ribbit",
    "owl": "hoot", "mouse": "squeak", "crow": "caw", "wolf": "howl", "bird": "tweet",
}  # fmt: skip

LEGS: dict[str, int] = {
    "dog": 4, "cat": 4, "cow": 4, "horse": 4, "pig": 4, "sheep": 4, "lion": 4, "frog": 4,
    "mouse": 4, "elephant": 4, "bird": 2, "duck": 2, "owl": 2, "chicken": 2, "crow": 2,
    "spider": 8, "ant": 6, "bee": 6, "fly": 6, "beetle": 6, "snake": 0, "fish": 0, "crab": 10,
}  # fmt: skip

BABIES: dict[str, str] = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "horse": "foal", "sheep": "lamb",
    "duck": "duckling", "pig": "piglet", "lion": "cub", "bear": "cub", "chicken": "chick",
    "frog": "tadpole", "goat": "kid", "swan": "cygnet", "deer": "fawn",
}  # fmt: skip

FIRST_NAMES: tuple[str, ...] = _words(
    "Anna Tom Maria Peter Paul Lisa Laura Emma Noah Liam Olivia Lucas Mia Leo Sofia Max Clara "
    "Felix Julia David Sarah Daniel Eva Simon Nina Oscar Alice Bob Carol Henry Jack Kate Lucy "
    "Mark Nora Oliver Rosa Sam Tina Victor Walter Adam Ben Chloe Diana Eric Fiona George Hannah "
    "Ivan Jane Kevin Linda Martin Nadia Otto Petra Robert Stella Theo Ursula Vera William Zoe "
    "Alex Bella Carlos Dora Elena Frank Grace Hugo Iris James John Karl Lena Mike Natalie "
    "Pablo Rita Steve Tara Yara Ahmed Aisha Chen Mei Ravi Priya Yuki Omar Fatima Diego"
)

NOUNS: tuple[str, ...] = _words(
    "shoes books music hotels trains pizza bread cars flowers games films songs birds stars "
    "rivers jobs news recipes tea coffee"
)
ADJECTIVES: tuple[str, ...] = _words("red blue green cheap new old good small big fast")
ROOMS: tuple[str, ...] = _words("kitchen bedroom bathroom garden office hall garage cellar")
TEXTS: tuple[str, ...] = (
    "hello", "good morning", "see you later", "thank you", "I am late", "call me", "come home",
    "dinner is ready", "happy birthday", "good night",
)  # fmt: skip
NUMBER_WORDS: tuple[str, ...] = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)

_ONSETS = _words("b br d dr f fl g gr h j k kr l m n p pl r s st t tr v w z")
_VOWELS = _words("a e i o u ai ei ia")
_CODAS = ("", "", "", "l", "n", "r", "s", "x", "m", "th")


def invented_name(rng: random.Random) -> str:
    """Build a name of two or three syllables; there are millions, so none is worth learning."""
    count = rng.choice((2, 2, 2, 3))
    parts = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(count)]
    return ("".join(parts) + rng.choice(_CODAS)).capitalize()


def person(rng: random.Random) -> str:
    """Pick a person's name: mostly invented, so that the model copies instead of recalling."""
    return rng.choice(FIRST_NAMES) if rng.random() < 0.45 else invented_name(rng)


def place(rng: random.Random) -> str:
    """Pick a city: mostly a real one, sometimes an invented one."""
    return rng.choice(CITIES) if rng.random() < 0.75 else invented_name(rng)


def article(noun: str) -> str:
    """Put `a` or `an` before a noun."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def capital_countries() -> dict[str, str]:
    """Map each capital to its country, where only one country has it."""
    cities = sorted(CAPITALS.values())
    doubled = {a for a, b in pairwise(cities) if a == b}
    return {city: country for country, city in CAPITALS.items() if city not in doubled}
