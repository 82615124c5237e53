"""Describes a model before anybody loads it: sizes, legal cuts, limits. Engine thread.

`python -m daemon.execution.card MODEL` prints the card as JSON, for programs without MLX.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from daemon.errors import ModelError
from daemon.execution.kv_shape import read_kv
from daemon.execution.model_card import ModelCard
from daemon.execution.outline import outline
from daemon.execution.skeleton import Skeleton, open_skeleton, parameter_bytes, parameters
from daemon.execution.stage import Stage
from daemon.execution.trace import LayerTrace, trace
from daemon.execution.weight_files import fingerprint, read_config, read_weight_files

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT_KEYS = ("max_position_embeddings", "max_sequence_length", "seq_length", "n_positions")
EXPERTS_CHOSEN_KEYS = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k")
DEFAULT_CONTEXT = 4096


def inspect(path: Path, kv_bits: int = 0) -> ModelCard:
    """The card of the model in ``path``; reads headers, no weights, and the same files only once.

    Args:
        path: folder of the model.
        kv_bits: 8 for a quantised KV cache, 0 for the model's own.

    Raises:
        ModelError: files missing or damaged, an unknown architecture, weights that don't fit.
    """
    return _inspect(path, kv_bits, _files_of(path))


def _files_of(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What tells files from others of the same names: size, time of change, inode."""
    if not folder.is_dir():
        return ()
    found = ((file.name, file.stat()) for file in folder.iterdir() if file.is_file())
    return tuple(sorted((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in found))


@lru_cache(maxsize=2)
def _inspect(path: Path, kv_bits: int, files_seen: tuple[object, ...]) -> ModelCard:
    del files_seen  # part of the key
    config = read_config(path)
    files = read_weight_files(path)
    skeleton = open_skeleton(path, kv_bits)
    traced = trace(skeleton)
    whole = parameter_bytes(skeleton.model)
    layers = tuple(parameter_bytes(layer) for layer in skeleton.layers)
    embeddings = [item.module for item in skeleton.outside_modules() if item.is_embedding]
    embedding_rows = max((parameters(item)["weight"].shape[0] for item in embeddings), default=0)
    first, shared, last = _outside_bytes(path, traced, layers)
    kv = read_kv(skeleton, traced)
    return ModelCard(
        path=path,
        model_type=config["model_type"],
        architecture=type(skeleton.model).__module__.rpartition(".")[2],
        fingerprint=fingerprint(config, files),
        n_layers=traced.n_layers,
        legal_cuts=traced.legal_cuts,
        why=traced.why,
        layer_bytes=layers,
        layer_work_bytes=tuple(_work_bytes(layer, config) for layer in skeleton.layers),
        embed_bytes=first - shared,
        head_bytes=last - shared,
        shared_bytes=shared,
        whole_bytes=whole,
        kv_token_bytes=kv.token_bytes,
        kv_windows=kv.windows,
        kv_state_bytes=kv.state_bytes,
        kv_cuttable=kv.cuttable,
        kv_storable=kv.storable,
        max_context=_first_number(config, CONTEXT_KEYS) or DEFAULT_CONTEXT,
        vocab_size=_first_number(config, ("vocab_size",)) or embedding_rows,
        weight_bits=_weight_bits(config, skeleton),
    )


def _outside_bytes(path: Path, traced: LayerTrace, layers: tuple[int, ...]) -> tuple[int, int, int]:
    """Bytes besides the layers of a first, a middle and a last stage, by really cutting one."""
    cuts = traced.legal_cuts
    if not cuts:
        return 0, 0, 0

    def outside(lo: int, hi: int) -> int:
        return Stage(open_skeleton(path), lo, hi, traced).weight_bytes - sum(layers[lo:hi])

    first, last = outside(0, cuts[0]), outside(cuts[-1], len(layers))
    middle = outside(cuts[0], cuts[-1]) if len(cuts) > 1 else 0
    return first, min(middle, first, last), last


def _work_bytes(layer: Any, config: dict[str, Any]) -> int:
    """A layer's bytes, those of its experts scaled by the part of them that a token uses."""
    total = float(parameter_bytes(layer))
    chosen = _first_number(config, EXPERTS_CHOSEN_KEYS)
    for _, module in layer.named_modules():
        if chosen and "SwitchLinear" in type(module).__name__:
            experts = module.weight.shape[0]
            total -= parameter_bytes(module) * (1 - min(1.0, chosen / experts))
    return int(total)


def _weight_bits(config: dict[str, Any], skeleton: Skeleton) -> int:
    """What the config says of quantisation, else the width of the largest array of a layer."""
    for key in ("quantization", "quantization_config"):
        part = config.get(key)
        if isinstance(part, dict) and isinstance(part.get("bits"), int):
            return part["bits"]
    arrays = parameters(skeleton.layers[0]).values()
    return 8 * max(arrays, key=lambda array: array.nbytes).dtype.size


def _first_number(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    """The first of ``keys`` that holds a whole number, at the top or in the text part."""
    for part in (config, config.get("text_config"), config.get("llm_config")):
        if isinstance(part, dict):
            for key in keys:
                if isinstance(part.get(key), int):
                    return part[key]
    return None


def main() -> int:
    """Print the card of the model that the only argument names; 1 if there is none."""
    try:
        with outline(sys.argv[1]) as folder:
            card = inspect(folder)
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{card.to_json()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
