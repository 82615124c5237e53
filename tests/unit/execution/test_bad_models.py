"""Damaged or wrong model folders: a ModelError that names file and cause, never a crash."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from daemon.errors import ModelError
from daemon.execution.card import inspect
from daemon.execution.loading import load_stage
from tests.support import random_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = random_models.QWEN3 | {"num_hidden_layers": 2, "vocab_size": 32}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in two weight files."""
    return random_models.write_model(tmp_path_factory.mktemp("good"), SMALL, shards=2)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(good, tmp_path / "model")


def _change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _shard(folder: Path) -> Path:
    return folder / "model-00002-of-00002.safetensors"


def _truncate(folder: Path) -> None:
    data = _shard(folder).read_bytes()
    _shard(folder).write_bytes(data[:-100])


def _cut_in_header(folder: Path) -> None:
    data = _shard(folder).read_bytes()
    _shard(folder).write_bytes(data[:20])


def _scribble(folder: Path) -> None:
    data = bytearray(_shard(folder).read_bytes())
    data[9:40] = b"x" * 31
    _shard(folder).write_bytes(data)


def _no_weights(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()


def _break_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("[]")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing shard": (
        lambda f: _shard(f).unlink(),
        r"1 weight file\(s\) of the index are missing, first model-00002-of-00002",
    ),
    "truncated": (_truncate, r"model-00002-of-00002\.safetensors: [\d,]+ bytes where its header"),
    "cut in the header": (_cut_in_header, "no safetensors file, or cut short"),
    "scribbled header": (_scribble, "damaged safetensors header"),
    "empty file": (lambda f: _shard(f).write_bytes(b""), "cut short"),
    "no weights": (_no_weights, "weights are missing"),
    "broken index": (_break_index, "no index of weights"),
    "unknown type": (
        lambda f: _change_config(f, model_type="imaginary"),
        "Model type imaginary not supported",
    ),
    "other width": (lambda f: _change_config(f, hidden_size=96), "mlx-lm can't build it: .*shape"),
    "more layers than weights": (
        lambda f: _change_config(f, num_hidden_layers=3),
        "mlx-lm can't build it: Missing",
    ),
    "key missing": (
        lambda f: (f / "config.json").write_text('{"model_type": "qwen3"}'),
        "can't build it",
    ),
    "no json": (lambda f: (f / "config.json").write_text("{"), "not readable as JSON"),
    "no model type": (lambda f: (f / "config.json").write_text("{}"), "no model_type"),
    "code in the folder": (
        lambda f: _change_config(f, model_file="evil.py"),
        "requires importing and running",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(damage: str, folder: Path) -> None:
    """Both ways into a model tell the same."""
    spoil, expected = DAMAGE[damage]
    spoil(folder)
    for use in (inspect, lambda path: load_stage(path, 0, 2)):
        with pytest.raises(ModelError, match=expected) as caught:
            use(folder)
        assert "\n" not in str(caught.value)


def test_other_values_have_another_fingerprint(good: Path, tmp_path: Path) -> None:
    """Ranks with different versions of a model must notice, even if all shapes agree."""
    other = random_models.write_model(tmp_path / "other", SMALL, shards=2, seed=1)
    same = random_models.write_model(tmp_path / "same", SMALL, shards=2)
    assert inspect(good).fingerprint == inspect(same).fingerprint
    assert inspect(good).fingerprint != inspect(other).fingerprint


def test_slices_outside_the_model_are_refused(good: Path) -> None:
    """The text says what the model has."""
    for lo, hi in ((0, 3), (1, 1), (-1, 1)):
        with pytest.raises(ModelError, match="no slice of a model of 2 layers"):
            load_stage(good, lo, hi)
