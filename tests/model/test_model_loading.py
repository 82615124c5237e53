"""Loading and sharding a Qwen3 model: the real code path, on weights that fit a test machine.

The hub's Qwen3-1.7B-8bit itself is used where the local cache has it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import mlx.core as mx
import pytest
from huggingface_hub import try_to_load_from_cache

from daemon.errors import PlacementError
from daemon.execution.card import inspect
from daemon.execution.loading import LoadProgress, load_stage
from daemon.execution.placement import USABLE, place
from daemon.execution.source import model_path
from daemon.messages import Plan, SamplingParams
from tests.support import random_models, staged

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.execution.model_card import ModelCard

HUB_ID = "mlx-community/Qwen3-1.7B-8bit"
# Qwen3-1.7B has 28 layers, 16 and 8 heads of 128, a tied head, 8 bits; this is its little sister.
LITTLE_QWEN3 = random_models.QWEN3 | {
    "num_hidden_layers": 28,
    "hidden_size": 128,
    "intermediate_size": 384,
    "vocab_size": 2048,
    "max_position_embeddings": 40960,
}
N_LAYERS = 28
ROOMY = 1 << 40

PRINT_CARD = """
import json, sys
from pathlib import Path
from daemon.execution.card import inspect
from daemon.execution.placement import place
from daemon.messages import Plan
card = inspect(Path(sys.argv[1]))
plan = Plan(card.fingerprint, place(card, [1 << 40] * 4))
print(json.dumps([plan.digest, card.n_layers, card.vocab_size, card.layer_bytes]))
"""

PRINT_MEMORY = """
import json, os, sys
from pathlib import Path
from daemon.execution.loading import load_stage
import psutil
lo, hi = int(sys.argv[2]), int(sys.argv[3])
process = psutil.Process()
load_stage(Path(sys.argv[1]), lo, lo + 1)  # libraries and their buffers are no weights
before = process.memory_info().rss
stage = load_stage(Path(sys.argv[1]), lo, hi)
print(json.dumps([process.memory_info().rss - before, stage.weight_bytes]))
"""


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model under test."""
    if isinstance(try_to_load_from_cache(HUB_ID, "model.safetensors"), str):
        return model_path(HUB_ID)
    folder = tmp_path_factory.mktemp("qwen3")
    return random_models.write_model(folder, LITTLE_QWEN3, bits=8, dtype=mx.bfloat16, shards=3)


@pytest.fixture(scope="module")
def card(qwen: Path) -> ModelCard:
    """Its card."""
    return inspect(qwen)


def _run(code: str, *arguments: object) -> list[int]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    return json.loads(done.stdout)


def test_qwen_model_loading(qwen: Path, card: ModelCard) -> None:
    """Qwen3 in 8 bits loads layer by layer and gives mlx-lm's tokens."""
    assert (card.model_type, card.n_layers, card.max_context) == ("qwen3", N_LAYERS, 40960)
    seen: list[LoadProgress] = []
    stage = load_stage(qwen, 0, N_LAYERS, seen.append)
    assert [progress.layers_done for progress in seen] == list(range(N_LAYERS + 1))
    assert seen[-1].bytes_done == seen[-1].bytes_total == stage.weight_bytes == card.whole_bytes
    prompt = staged.random_prompt(12, card.vocab_size)
    executors = staged.load_executors(qwen, [(0, N_LAYERS)])
    tokens = [out.token for out in staged.generate(executors, prompt, 6)]
    assert tokens == staged.reference(qwen, prompt, 6)


def test_model_sharding_balanced(card: ModelCard) -> None:
    """Equal devices share evenly: with the head counted, no stage works much more than another."""
    for world in (2, 4, 8):
        ranges = place(card, [ROOMY] * world)
        assert ranges[0][0] == 0
        assert ranges[-1][1] == N_LAYERS
        assert all(before[1] == after[0] for before, after in pairwise(ranges))
        work = [sum(card.layer_work_bytes[lo:hi]) for lo, hi in ranges]
        work[-1] += card.head_bytes
        largest_layer = max(card.layer_work_bytes)
        assert max(work) - sum(work) / world <= largest_layer
    layers_only = dataclasses.replace(card, head_bytes=0, embed_bytes=0)
    sizes = [hi - lo for lo, hi in place(layers_only, [ROOMY] * 8)]
    assert sorted(sizes) == [3] * 4 + [4] * 4


def test_model_sharding_memory_aware(qwen: Path, card: ModelCard) -> None:
    """A small device gets fewer layers, what it loads fits, and too little is an error."""
    layer = card.layer_bytes[0]
    small = int((card.embed_bytes + 4.5 * layer) / USABLE)
    ranges = place(card, [small, ROOMY, ROOMY], kv_tokens=0)
    assert ranges[0] == (0, 4)
    assert load_stage(qwen, *ranges[0]).weight_bytes <= small * USABLE
    assert place(card, [small, ROOMY, ROOMY], kv_tokens=1024)[0][1] < 4
    with pytest.raises(PlacementError, match="are missing"):
        place(card, [small] * 3)


def test_tied_embeddings_handling(qwen: Path, card: ModelCard) -> None:
    """The tied matrix lives on the first and the last rank only, and gives the same tokens."""
    ranges = staged.even_ranges(N_LAYERS, 4)
    stages = [load_stage(qwen, lo, hi) for lo, hi in ranges]
    besides = [
        stage.weight_bytes - sum(card.layer_bytes[lo:hi])
        for stage, (lo, hi) in zip(stages, ranges, strict=True)
    ]
    assert besides == [card.embed_bytes, 0, 0, card.head_bytes]
    norm_bytes = card.head_bytes - card.embed_bytes
    assert 0 < norm_bytes < card.embed_bytes / 10, "the head is the embedding, plus the norm"
    prompt = staged.random_prompt(9, card.vocab_size)
    sampling = SamplingParams(temperature=0.8, top_p=0.95, seed=11)
    executors = staged.load_executors(qwen, ranges)
    tokens = [out.token for out in staged.generate(executors, prompt, 6, sampling)]
    assert tokens == staged.reference(qwen, prompt, 6, seed=11, temp=0.8, top_p=0.95)


def test_model_metadata_consistency(qwen: Path, card: ModelCard, tmp_path: Path) -> None:
    """Ranks in processes of their own agree on the plan; another version of the model shows."""
    expected = Plan(card.fingerprint, place(card, [ROOMY] * 4)).digest
    for _ in range(2):
        digest, n_layers, vocab_size, layer_bytes = _run(PRINT_CARD, qwen)
        assert digest == expected
        assert (n_layers, vocab_size) == (card.n_layers, card.vocab_size)
        assert tuple(layer_bytes) == card.layer_bytes  # pyright: ignore[reportArgumentType] - JSON
    copy = shutil.copytree(qwen, tmp_path / "copy")
    assert inspect(copy).fingerprint == card.fingerprint
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    assert inspect(copy).fingerprint != card.fingerprint


def test_a_rank_holds_only_its_own_weights(tmp_path: Path) -> None:
    """Resident memory after loading a quarter is little more than the quarter."""
    config = LITTLE_QWEN3 | {"hidden_size": 512, "intermediate_size": 2048}
    folder = random_models.write_model(tmp_path / "model", config, bits=8, dtype=mx.bfloat16)
    resident, own = _run(PRINT_MEMORY, folder, 7, 14)
    assert own > 20 << 20
    assert resident <= 1.15 * own
