"""Tiny models for the tests of execution, made once per session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import pytest

from tests.support import random_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VARIANTS = {
    "dense": (random_models.QWEN3, 0, mx.float32),
    "moe": (random_models.QWEN3_MOE, 0, mx.float32),
    "sliding": (random_models.GEMMA3, 0, mx.float32),
    "hybrid": (random_models.QWEN3_NEXT, 0, mx.float32),
    "8bit": (random_models.QWEN3, 8, mx.bfloat16),
    "4bit": (random_models.LLAMA, 4, mx.bfloat16),
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the model variant of that name."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            config, bits, dtype = VARIANTS[name]
            path = tmp_path_factory.mktemp(name)
            made[name] = random_models.write_model(path, config, bits=bits, dtype=dtype)
        return made[name]

    return folder
