"""A random model that a whole cluster can serve: weights and a tokenizer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.random_models import QWEN3, write_model
from tests.support.tiny_tokenizer import write_tiny_tokenizer

if TYPE_CHECKING:
    from pathlib import Path


def write_servable_model(folder: Path, *, layers: int = 8) -> Path:
    """Write it into ``folder``; the folder. Its answers mean nothing."""
    write_tiny_tokenizer(folder)
    stops = json.loads((folder / "config.json").read_text())["eos_token_id"]
    return write_model(folder, QWEN3 | {"num_hidden_layers": layers, "eos_token_id": stops})
