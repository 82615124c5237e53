"""Training batches: conversations as token ids with a weight per predicted token."""

# pyright: basic, reportMissingImports=false

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from torch import Tensor

from daemon.demo.conversations import Conversation, training
from daemon.demo.train_tokenizer import END_OF_TEXT, TURN_END, chat_template, token_id

MAX_LENGTH = 768
POOL = 4096
"""Conversations whose batches are shuffled together."""
LENGTH_STEP = 16
"""Batches have few distinct shapes, as the CPU's kernels are compiled anew for each."""
PROMPT_WEIGHT = 0.1
"""Learning a little from the questions speeds up copying names and arguments from them."""

Row = tuple[list[int], list[float]]


@cache
def _render() -> Callable[..., str]:
    """Compile the chat template with the settings that transformers uses."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(chat_template()).render


def _called(message: dict[str, Any]) -> str:
    if message["content"] is not None:
        return message["content"]
    function = message["tool_calls"][0]["function"]
    call = f'{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}'
    return f"<tool_call>\n{call}\n</tool_call>"


def as_text(conversation: Conversation) -> str:
    """Render a conversation with the answer, and with the thought where it thinks."""
    *history, answer = conversation.messages
    prompt = _render()(
        messages=history,
        tools=conversation.tools,
        add_generation_prompt=True,
        enable_thinking=conversation.thinking,
    )
    thought = f"<think>\n{conversation.thought}\n</think>\n\n" if conversation.thinking else ""
    return f"{prompt}{thought}{_called(answer)}{TURN_END}"


class Encoder:
    """Turns conversations into rows of ids and weights."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._empty = tokenizer.encode("<think>\n\n</think>\n\n").ids
        self._end = token_id(tokenizer, TURN_END)
        self._think = token_id(tokenizer, "<think>")
        self.padding = token_id(tokenizer, END_OF_TEXT)

    def row(self, conversation: Conversation) -> Row:
        """Weigh what the assistant writes; the empty think block is given to it, so it has none."""
        ids = self._tokenizer.encode(as_text(conversation)).ids
        weights = [PROMPT_WEIGHT] * len(ids)
        position = 0
        while position < len(ids):
            if ids[position] != self._think:
                position += 1
                continue
            size = len(self._empty)
            if ids[position : position + size] == self._empty:
                weights[position : position + size] = [0.0] * size
                position += size
            end = ids.index(self._end, position)
            weights[position : end + 1] = [1.0] * (end + 1 - position)
            position = end
        return ids, weights


def batches(tokenizer: Tokenizer, seed: int, batch_tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids and weights without end, each (rows, length), of at most `batch_tokens` tokens."""
    encoder, stream = Encoder(tokenizer), training(seed)
    order = random.Random(seed)
    buckets: defaultdict[int, list[Row]] = defaultdict(list)
    while True:
        pool: list[tuple[Tensor, Tensor]] = []
        for conversation in islice(stream, POOL):
            row = encoder.row(conversation)
            length = -(-len(row[0]) // LENGTH_STEP) * LENGTH_STEP
            if length > MAX_LENGTH:
                continue
            buckets[length].append(row)
            if len(buckets[length]) == batch_tokens // length:
                pool.append(_padded(buckets.pop(length), length, encoder.padding))
        order.shuffle(pool)
        yield from pool


def _padded(rows: list[Row], length: int, padding: int) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([ids + [padding] * (length - len(ids)) for ids, _ in rows])
    weights = torch.tensor([w + [0.0] * (length - len(w)) for _, w in rows])
    return ids, weights
