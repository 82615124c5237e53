"""A tokenizer small enough to reason about: one token per byte, a few words, the usual marks."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

if TYPE_CHECKING:
    from pathlib import Path

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
WORDS = ("the", "ing", "is", " a")
MAX_CONTEXT = 512


def write_tiny_tokenizer(folder: Path) -> Path:
    """A model folder without weights: config, tokenizer and the demo model's chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: i for i, symbol in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        symbols = list(word.replace(" ", "\u0120"))
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            symbols[:2] = [symbols[0] + symbols[1]]
            vocab.setdefault(symbols[0], len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in SPECIAL])
    tokenizer.add_tokens([AddedToken(mark, special=False) for mark in MARKS])
    tokenizer.save(str(folder / "tokenizer.json"))
    template = (files("daemon.demo") / "chat_template.jinja").read_text(encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    stops = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    config = {"max_position_embeddings": MAX_CONTEXT, "eos_token_id": stops}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
