"""Loads the text side of a model folder.

The only importer of mlx-lm's tokenizer code (which brings transformers: 2 to 3 s), so nobody else
imports this file at module level. Runs in a thread of the API process.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from daemon.errors import ModelError
from daemon.text.model import TextModel
from daemon.text.vocabulary import spelling_of

if TYPE_CHECKING:
    from pathlib import Path

_TOKENIZER_FILES = ("tokenizer.json", "*.model", "vocab*", "*.tiktoken", "tokeniz*.py")
_CONTEXT_KEYS = ("max_position_embeddings", "max_sequence_length", "seq_length", "n_positions")


def load_text_model(folder: Path) -> TextModel:
    """Tokenizer, template and markers of the model in ``folder``.

    Raises:
        ModelError: the folder has no tokenizer that transformers can read.
    """
    from mlx_lm import tokenizer_utils  # noqa: PLC0415 - see above: seconds

    _quieten_transformers()
    config = _read(folder / "config.json")
    # Without any file transformers makes up a tokenizer that knows no word.
    if not any(match for pattern in _TOKENIZER_FILES for match in folder.glob(pattern)):
        raise ModelError(
            f"{folder} holds no tokenizer (tokenizer.json, tokenizer.model or the like): download "
            "the model again"
        )
    try:
        tokenizer = tokenizer_utils.load(folder, eos_token_ids=_eos_ids(folder, config))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no tokenizer that can be read: {error}") from error
    return TextModel(tokenizer, spelling_of(folder / "tokenizer.json"), _max_context(config))


def _quieten_transformers() -> None:
    """Its advice on stderr is not for our users (`PyTorch was not found` and the like)."""
    logging.getLogger("transformers").setLevel(logging.ERROR)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON object: {error}") from error


def _eos_ids(folder: Path, config: dict[str, Any]) -> list[int] | None:
    """End-of-sequence ids as the config names them; the generation config may name more."""
    ids: set[int] = set()
    for source in (config, config.get("text_config", {}), _read(folder / "generation_config.json")):
        named = source.get("eos_token_id")
        ids.update([named] if isinstance(named, int) else named or ())
    return sorted(ids) or None


def _max_context(config: dict[str, Any]) -> int:
    for source in (config, config.get("text_config", {})):
        for key in _CONTEXT_KEYS:
            if isinstance(source.get(key), int):
                return int(source[key])
    return 0
