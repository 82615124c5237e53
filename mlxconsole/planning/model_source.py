"""Gets a model's card from a process of its own: this one never loads MLX. Blocking."""

from __future__ import annotations

import subprocess
import sys

from daemon.errors import ModelError
from daemon.execution.model_card import ModelCard

TIMEOUT_S = 600.0
"""Headers of a large model on the hub are many small requests."""


def card_of(model: str) -> ModelCard:
    """The card of a folder or a hub id; reads the config and the headers of the weights.

    Raises:
        ModelError: says what is wrong with it.
    """
    command = [sys.executable, "-m", "daemon.execution.card", model]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"model {model!r}: not read within {TIMEOUT_S:g} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise ModelError(lines[-1])
    return ModelCard.from_json(done.stdout.strip().splitlines()[-1])
