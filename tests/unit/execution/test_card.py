"""What a card says of a model that nobody has loaded."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from daemon.execution.card import inspect
from daemon.execution.loading import load_stage
from daemon.execution.memory import limit_bytes, memory
from tests.support import random_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("variant", ["dense", "moe", "hybrid", "8bit"])
def test_bytes_are_those_of_real_stages(variant: str, model_folder: Callable[[str], Path]) -> None:
    """Placement counts with them."""
    folder = model_folder(variant)
    card = inspect(folder)
    first, middle, last = (load_stage(folder, *r).weight_bytes for r in ((0, 2), (2, 5), (5, 8)))
    layers = card.layer_bytes
    assert first == sum(layers[:2]) + card.embed_bytes + card.shared_bytes
    assert middle == sum(layers[2:5]) + card.shared_bytes
    assert last == sum(layers[5:]) + card.head_bytes + card.shared_bytes
    assert load_stage(folder, 0, 8).weight_bytes == card.whole_bytes


def test_context_costs_memory_in_attention_layers_only(
    model_folder: Callable[[str], Path],
) -> None:
    """2 heads of 32 numbers of 4 bytes, keys and values; recurrent layers keep a fixed state."""
    assert inspect(model_folder("dense")).kv_token_bytes == (2 * 32 * 4 * 2,) * 8
    assert inspect(model_folder("hybrid")).kv_token_bytes == (0, 0, 0, 512) * 2


def test_experts_work_only_as_far_as_they_are_chosen(
    model_folder: Callable[[str], Path],
) -> None:
    """Two of four experts per token."""
    card = inspect(model_folder("moe"))
    experts = 4 * 3 * 64 * 64 * 4  # three projections of (64, 64) in float32
    assert card.layer_bytes[0] - card.layer_work_bytes[0] == experts // 2


def test_context_has_a_fallback(tmp_path: Path) -> None:
    """Some configs name none."""
    config = random_models.LLAMA | {"num_hidden_layers": 2}
    folder = random_models.write_model(tmp_path / "model", config)
    assert (inspect(folder).vocab_size, inspect(folder).max_context) == (512, 4096)
    nested = shutil.copytree(folder, tmp_path / "nested")
    without = {key: value for key, value in config.items() if key != "max_position_embeddings"}
    (nested / "config.json").write_text(json.dumps(without))
    assert inspect(nested).max_context == 4096


def test_memory_uses_the_names_of_the_protocol() -> None:
    """The worker reports it as it is."""
    assert memory().keys() == {"mlx_active_bytes", "mlx_cache_bytes", "mlx_peak_bytes"}
    assert limit_bytes() > 1 << 30


def test_the_same_files_are_read_once(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """A process that waits to be the next worker has its card already, unless files change."""
    folder = shutil.copytree(model_folder("dense"), tmp_path / "model")
    card = inspect(folder)
    assert inspect(folder) is card
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 77}))
    assert inspect(folder).max_context == 77
