"""Tools that a user may offer, the questions that call for them, and what they return.

Names, descriptions and parameter names vary, so that the model reads the offer instead of
knowing it. Arguments are copied from the question.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daemon.demo import facts
from daemon.demo.wording import normalised, worded
from daemon.demo.wordings import WORDINGS

Json = dict[str, Any]


@dataclass(frozen=True)
class Offer:
    """One tool as offered, with a question that needs it."""

    family: str
    tool: Json
    """In OpenAI's shape: `{"type": "function", "function": {...}}`."""
    question: str
    arguments: Json
    result: str
    """What the tool returns, as the content of a `tool` message."""

    @property
    def name(self) -> str:
        """The function's name."""
        return self.tool["function"]["name"]

    @property
    def key(self) -> str:
        """What the split hashes: the tool's name with the question."""
        return f"tool:{self.name}:{normalised(self.question)}"


def _tool(
    rng: random.Random, names: tuple[str, ...], descriptions: tuple[str, ...], parameters: Json
) -> Json:
    """Describe a tool the way different clients do."""
    schema: Json = {"type": "object", "properties": parameters}
    if rng.random() < 0.85:
        schema["required"] = list(parameters)
    if rng.random() < 0.1:
        schema["additionalProperties"] = False
    function: Json = {"name": rng.choice(names)}
    if rng.random() < 0.9:
        function["description"] = rng.choice(descriptions)
    function["parameters"] = schema
    return {"type": "function", "function": function}


def _parameter(rng: random.Random, kind: str, description: str) -> Json:
    described = {"description": description} if rng.random() < 0.25 else {}
    return {"type": kind, **described}


def _result(rng: random.Random, plain: str, **fields: object) -> str:
    return json.dumps(fields) if fields and rng.random() < 0.25 else plain


def weather(rng: random.Random) -> Offer:
    """Offer the weather of a city."""
    names = WORDINGS["tool.weather.names"]
    descriptions = WORDINGS["tool.weather.descriptions"]
    slot = rng.choice(("city", "city", "location", "place", "town"))
    city = facts.place(rng)
    cores = WORDINGS["tool.weather"]
    wording = worded(rng, cores, c=city)
    sky, degrees = rng.choice(("sunny", "cloudy", "rainy", "windy", "foggy")), rng.randint(-9, 39)
    result = _result(rng, f"{sky}, {degrees} degrees", sky=sky, degrees=degrees)
    tool = _tool(rng, names, descriptions, {slot: _parameter(rng, "string", "The city")})
    return Offer("weather", tool, wording.text, {slot: wording.as_typed(city)}, result)


def clock(rng: random.Random) -> Offer:
    """Offer the time of a city."""
    names = WORDINGS["tool.clock.names"]
    descriptions = WORDINGS["tool.clock.descriptions"]
    slot = rng.choice(("city", "city", "location", "place"))
    city = facts.place(rng)
    cores = WORDINGS["tool.clock"]
    wording = worded(rng, cores, c=city)
    time = f"{rng.randint(0, 23)}:{rng.randint(10, 59)}"
    tool = _tool(rng, names, descriptions, {slot: _parameter(rng, "string", "The city")})
    result = _result(rng, time, time=time)
    return Offer("clock", tool, wording.text, {slot: wording.as_typed(city)}, result)


def adder(rng: random.Random) -> Offer:
    """Offer a sum of two numbers."""
    names = WORDINGS["tool.adder.names"]
    descriptions = WORDINGS["tool.adder.descriptions"]
    first, second = rng.choice((("a", "b"), ("a", "b"), ("x", "y"), ("first", "second")))
    a, b = rng.randint(0, 999), rng.randint(0, 999)
    cores = WORDINGS["tool.adder"]
    kind = rng.choice(("integer", "number"))
    parameters = {slot: _parameter(rng, kind, "A number") for slot in (first, second)}
    text = worded(rng, cores, a=a, b=b).text
    result = _result(rng, str(a + b), result=a + b)
    return Offer(
        "adder", _tool(rng, names, descriptions, parameters), text, {first: a, second: b}, result
    )


def timer(rng: random.Random) -> Offer:
    """Offer a timer."""
    names = WORDINGS["tool.timer.names"]
    descriptions = WORDINGS["tool.timer.descriptions"]
    slot = rng.choice(("minutes", "minutes", "duration", "time"))
    minutes = rng.randint(1, 120)
    cores = WORDINGS["tool.timer"]
    tool = _tool(rng, names, descriptions, {slot: _parameter(rng, "integer", "Minutes")})
    text = worded(rng, cores, m=minutes).text
    result = rng.choice(("done", "ok", "timer set", "started"))
    return Offer("timer", tool, text, {slot: minutes}, result)


def light(rng: random.Random) -> Offer:
    """Offer to switch on a light."""
    names = WORDINGS["tool.light.names"]
    descriptions = WORDINGS["tool.light.descriptions"]
    slot = rng.choice(("room", "room", "place"))
    room = rng.choice(facts.ROOMS)
    cores = WORDINGS["tool.light"]
    tool = _tool(rng, names, descriptions, {slot: _parameter(rng, "string", "The room")})
    text = worded(rng, cores, r=room).text
    return Offer("light", tool, text, {slot: room}, rng.choice(("done", "ok", "light is on")))


def search(rng: random.Random) -> Offer:
    """Offer a search."""
    names = WORDINGS["tool.search.names"]
    descriptions = WORDINGS["tool.search.descriptions"]
    slot = rng.choice(("query", "query", "text", "q"))
    query = f"{rng.choice(facts.ADJECTIVES)} {rng.choice(facts.NOUNS)}"
    cores = WORDINGS["tool.search"]
    tool = _tool(rng, names, descriptions, {slot: _parameter(rng, "string", "The query")})
    text = worded(rng, cores, q=query).text
    found = rng.randint(0, 99)
    return Offer("search", tool, text, {slot: query}, _result(rng, f"{found} pages", found=found))


def message(rng: random.Random) -> Offer:
    """Offer to send a message to a person."""
    names = WORDINGS["tool.message.names"]
    descriptions = WORDINGS["tool.message.descriptions"]
    target, body = rng.choice(
        (("to", "text"), ("to", "text"), ("name", "message"), ("person", "body"))
    )
    name, words = facts.person(rng), rng.choice(facts.TEXTS)
    cores = WORDINGS["tool.message"]
    parameters = {slot: _parameter(rng, "string", "Text") for slot in (target, body)}
    wording = worded(rng, cores, n=name, t=words)
    tool = _tool(rng, names, descriptions, parameters)
    # A suffix such as "please" would read as part of the message.
    text = wording.text if wording.text.rstrip("?.!").endswith(words) else f"Tell {name}: {words}."
    shown = name if name in text else name.lower()
    return Offer(
        "message", tool, text, {target: shown, body: words}, rng.choice(("sent", "ok", "done"))
    )


FAMILIES: tuple[Callable[[random.Random], Offer], ...] = (
    weather,
    weather,
    clock,
    adder,
    timer,
    light,
    search,
    message,
)


def offers(rng: random.Random) -> list[Offer]:
    """Draw one to three tools of different families; any of them may be asked for."""
    drawn = {offer.family: offer for offer in (f(rng) for f in rng.sample(FAMILIES, 3))}
    return list(drawn.values())[: rng.choice((1, 1, 2, 3))]
