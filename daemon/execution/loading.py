"""Reads the weights of one stage, layer by layer, and nothing else. Engine thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx

from daemon.errors import ModelError
from daemon.execution.skeleton import open_skeleton, parameter_bytes, parameters
from daemon.execution.stage import Stage
from daemon.execution.weight_files import read_config, read_weight_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class LoadProgress:
    """How far a rank's loading has come."""

    layers_done: int
    layers_total: int
    bytes_done: int
    bytes_total: int


def load_stage(
    path: Path,
    lo: int,
    hi: int,
    on_progress: Callable[[LoadProgress], None] | None = None,
    kv_bits: int = 0,
) -> Stage:
    """Layers [lo, hi) of the model in ``path``, with their weights in memory.

    Args:
        path: folder of the model, see `source.model_path`.
        lo: first layer.
        hi: one after the last layer.
        on_progress: called before the first and after every layer.
        kv_bits: 8 for a quantised KV cache, 0 for the model's own.

    Raises:
        ModelError: files missing or damaged, weights that don't fit the config, an illegal cut.
    """
    read_config(path)
    read_weight_files(path)
    stage = Stage(open_skeleton(path, kv_bits), lo, hi)
    try:
        _read(stage, on_progress or (lambda _: None))
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{path}: reading layers [{lo}, {hi}) failed: {error}") from error
    mx.clear_cache()
    return stage


def _read(stage: Stage, on_progress: Callable[[LoadProgress], None]) -> None:
    total = stage.weight_bytes
    layers = stage.skeleton.layers[stage.lo : stage.hi]
    done = total - sum(parameter_bytes(layer) for layer in layers)
    prefix = f"{stage.skeleton.layers_path}."
    outside = [
        array for name, array in parameters(stage.model).items() if not name.startswith(prefix)
    ]
    mx.eval(outside)
    on_progress(LoadProgress(0, len(layers), done, total))
    for count, layer in enumerate(layers, 1):
        mx.eval(layer.parameters())
        done += parameter_bytes(layer)
        on_progress(LoadProgress(count, len(layers), done, total))
