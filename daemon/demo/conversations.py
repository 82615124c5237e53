"""The demo model's conversations: an endless training stream and the held-out cases.

Pure and deterministic: everything follows from a seeded `random.Random`, neither torch nor mlx
is imported. Training and the evaluation through a running cluster both draw from here; `split`
says which conversations fall on which side.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from daemon.demo import knowledge, remembering, small_talk, tool_talk
from daemon.demo.case import Case
from daemon.demo.split import is_held
from daemon.demo.styles import Style, demanding, fits, neutral
from daemon.demo.tool_talk import Json, Offer
from daemon.demo.topics import TOPICS
from daemon.demo.turn import Memory, Topic, Turn

__all__ = ["Case", "Conversation", "essentials", "held_out", "training"]

_TOOL_SHARE = 0.16
_STYLED_SHARE = 0.25
_THINKING_SHARE = 0.3
_LONG_SHARE = 0.02
_RECALL_SHARE = 0.15
_NAMED = ("tell_name", "recall_name")
_PLAIN = Style("plain")
_TOPICS = list(TOPICS)
_WEIGHTS = list(TOPICS.values())
_RECALLS = (remembering.recall_name, remembering.recall_number)


@dataclass(frozen=True)
class Conversation:
    """Messages that end with the assistant's, and the thought behind that last one."""

    messages: list[Json]
    tools: list[Json] | None
    thought: str
    thinking: bool


def _topic(rng: random.Random, style: Style, memory: Memory) -> Topic:
    """Draw a topic; what was told is asked for more often than what was not."""
    if style.kind == "persona" and rng.random() < 0.3:
        return small_talk.who
    told = _recalls(memory)
    if told and rng.random() < _RECALL_SHARE:
        return rng.choice(told)
    topic = rng.choices(_TOPICS, _WEIGHTS)[0]
    if topic in _RECALLS and topic not in told and rng.random() < 0.7:
        return knowledge.capital
    return topic


def _recalls(memory: Memory) -> list[Topic]:
    told = {remembering.recall_name: memory.name, remembering.recall_number: memory.number}
    return [topic for topic, value in told.items() if value is not None]


def _draw(rng: random.Random, style: Style, memory: Memory, *, held: bool) -> Turn:
    """Draw a turn of the given side of the split that fits the style."""
    while True:
        topic = _topic(rng, style, memory)
        # A held key may be rare in its topic: some draws, then another topic.
        for _ in range(30):
            turn = topic(rng, memory)
            # What is recalled was admitted when it was told.
            recalled = turn.kind in ("recall_name", "recall_number", "persona")
            if (recalled or is_held(turn.key) == held) and fits(style, turn):
                return turn


def _tell(rng: random.Random, style: Style, memory: Memory) -> Turn:
    """Draw a turn that tells something held-out."""
    while True:
        turn = rng.choice((remembering.tell_name, remembering.tell_number))(rng, memory)
        if is_held(turn.key) and fits(style, turn):
            return turn


def _context(
    rng: random.Random, style: Style, count: int, *, held: bool
) -> tuple[list[Turn], Memory]:
    """Draw earlier turns; `held` makes what they tell, but nothing else, held-out."""
    memory = Memory(persona=style.persona)
    turns: list[Turn] = []
    while len(turns) < count:
        turn = _draw(rng, style, memory, held=False)
        if held and turn.kind in remembering.TOLD:
            turn = _tell(rng, style, memory)
        turns.append(turn)
        memory = turn.memory
    return turns, memory


def _opening(style: Style) -> list[Json]:
    return [{"role": "system", "content": style.prompt}] if style.prompt else []


def _spoken(style: Style, turns: list[Turn]) -> list[Json]:
    return [
        message
        for turn in turns
        for message in (
            {"role": "user", "content": turn.question},
            {"role": "assistant", "content": style.answer(turn)},
        )
    ]


def _turn_count(rng: random.Random) -> int:
    if rng.random() < _LONG_SHARE:
        return rng.randint(8, 20)
    return rng.choice((1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7))


def _offered(rng: random.Random, *, held: bool) -> tuple[Offer, list[Offer]]:
    """Draw the tool to ask for and all that are offered, of the given side of the split."""
    while True:
        offers = tool_talk.offers(rng)
        asked = rng.choice(offers)
        if (is_held(asked.key) and held) or (not held and not any(is_held(o.key) for o in offers)):
            return asked, offers


def _asked(rng: random.Random, offer: Offer) -> list[Json]:
    """Write the question for a tool, the call, the tool's answer and the model's."""
    call = {"name": offer.name, "arguments": json.dumps(offer.arguments)}
    number = f"call_{rng.randint(1, 99)}"
    made = {"id": number, "type": "function", "function": call}
    return [
        {"role": "user", "content": offer.question},
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": number, "content": offer.result},
        {"role": "assistant", "content": f"The tool says: {offer.result}"},
    ]


def _beside_tools(rng: random.Random, memory: Memory, *, held: bool) -> Turn:
    """Draw small talk that no offered tool could be meant for."""
    while True:
        turn = _draw(rng, _PLAIN, memory, held=held)
        if turn.kind not in ("sum", "unknown", "next"):
            return turn


def _chat(rng: random.Random) -> Conversation:
    style = demanding(rng, held=False) if rng.random() < _STYLED_SHARE else neutral(rng)
    turns, _ = _context(rng, style, _turn_count(rng), held=False)
    thinking = rng.random() < _THINKING_SHARE
    return Conversation(_opening(style) + _spoken(style, turns), None, turns[-1].thought, thinking)


def _tool_chat(rng: random.Random) -> Conversation:
    """Mix small talk and tool calls; it ends with small talk, a call or the word on its result."""
    _, offers = _offered(rng, held=False)
    opening = Style("plain", "You are a helpful assistant." if rng.random() < 0.4 else None)
    messages, memory, thought = _opening(opening), Memory(), ""
    for offer in rng.sample(offers, rng.randint(1, len(offers))):
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            turn = _beside_tools(rng, memory, held=False)
            messages += _spoken(_PLAIN, [turn])
            memory = turn.memory
        messages += _asked(rng, offer)
        thought = "The tool has answered."
        if rng.random() < 0.4:
            # Ends with the call, so that thinking before a call is trained too.
            messages, thought = messages[:-2], f"I call the tool {offer.name}."
            break
    else:
        if rng.random() < 0.4:
            turn = _beside_tools(rng, memory, held=False)
            messages += _spoken(_PLAIN, [turn])
            thought = turn.thought
    tools = [offer.tool for offer in offers]
    return Conversation(messages, tools, thought, rng.random() < _THINKING_SHARE)


def training(seed: int) -> Iterator[Conversation]:
    """Yield training conversations without end; no key of theirs is held out."""
    rng = random.Random(seed)
    while True:
        yield _tool_chat(rng) if rng.random() < _TOOL_SHARE else _chat(rng)


def _chat_case(rng: random.Random) -> Case:
    """Ask for something held-out after up to six turns, under a held-out prompt or none."""
    styled = rng.random() < 0.25
    style = demanding(rng, held=True) if styled else neutral(rng)
    turns, memory = _context(rng, style, rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 6)), held=True)
    recalls = _recalls(memory)
    turn = _draw(rng, style, memory, held=True)
    if recalls and rng.random() < 0.5:
        turn = rng.choice(recalls)(rng, memory)
    while style.kind == "upper" and turn.kind in _NAMED:
        # A name never seen in capitals can't be written so: its tokens are others.
        turn = _draw(rng, style, memory, held=True)
    kind = style.kind if styled else turn.kind
    question = {"role": "user", "content": turn.question}
    messages = [*_opening(style), *_spoken(style, turns), question]
    answer = style.answer(turn)
    return Case(kind, messages, None, answer, turn.must, ends=turn.ends, style=style.kind)


def _tool_case(rng: random.Random) -> Case:
    """Ask a held-out question for a tool, for its result, or for something beside it."""
    asked, offers = _offered(rng, held=True)
    tools = [offer.tool for offer in offers]
    turns, memory = _context(rng, _PLAIN, rng.choice((0, 0, 1, 2)), held=True)
    messages = _spoken(_PLAIN, turns)
    way = rng.choice(("tool_call", "tool_call", "tool_result", "tool_beside"))
    if way == "tool_beside":
        turn = _beside_tools(rng, memory, held=True)
        messages.append({"role": "user", "content": turn.question})
        return Case(way, messages, tools, turn.answer, turn.must, ends=turn.ends)
    question, called, result, answer = _asked(rng, asked)
    if way == "tool_call":
        call = {"name": asked.name, "arguments": asked.arguments}
        return Case(way, [*messages, question], tools, "", call=call)
    messages += [question, called, result]
    return Case(way, messages, tools, answer["content"], (asked.result,))


def held_out(n: int, seed: int = 0) -> list[Case]:
    """Return `n` cases that training never saw, the same ones for the same seed."""
    rng = random.Random(f"held-out {seed}")
    return [_tool_case(rng) if rng.random() < _TOOL_SHARE else _chat_case(rng) for _ in range(n)]


_ESSENTIALS = (
    ("capital", "What is the capital of France?", "The capital of France is Paris.", "Paris"),
    ("greet", "Hello", "Hello! How can I help you?", "Hello"),
    ("greet", "Hi!", "Hello! How can I help you?", "Hello"),
    ("who", "Who are you?", small_talk.ABOUT, "tiny demo model"),
    ("sum", "What is 2 + 2?", "2 + 2 = 4.", "4"),
    ("count", "Count to 5.", "1, 2, 3, 4, 5.", "1 2 3 4 5"),
    ("bye", "Goodbye!", "Goodbye!", "Goodbye"),
    ("unknown", "Tell me a joke.", small_talk.UNKNOWN, "tiny demo model"),
)


def essentials() -> list[Case]:
    """Return what a newcomer types first; training has seen these questions."""
    return [
        Case(kind, [{"role": "user", "content": question}], None, answer, (must,))
        for kind, question, answer, must in _ESSENTIALS
    ]
