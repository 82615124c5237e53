"""Writes a model with random weights and the demo's tokenizer: something to measure with.

`python -m daemon.execution.random_model FOLDER [--layers N] [--width N] [--experts N] [--bits 8]
[--dtype bfloat16]`. Engine thread.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn

from daemon.execution.light_import import model_imports
from daemon.execution.random_weights import randomise
from daemon.execution.skeleton import parameters
from daemon.execution.source import DEMO, model_path

LAYERS = 8
WIDTH = 384
"""With `LAYERS` about 12 million weights: some milliseconds a step on a CPU core."""
HEAD_DIM = 64
EXPERTS_PER_TOKEN = 8
DTYPES = ("float32", "bfloat16", "float16")
GROUP = 64
"""Weights of one scale, where they are quantised."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def write_random_model(
    folder: Path,
    layers: int = LAYERS,
    width: int = WIDTH,
    bits: int = 0,
    experts: int = 0,
    dtype: str = DTYPES[0],
) -> Path:
    """Write it into ``folder``; the folder.

    Args:
        folder: where.
        layers: blocks.
        width: of hidden states, a multiple of `HEAD_DIM`.
        bits: of a weight; 0: not quantised.
        experts: of each block, `EXPERTS_PER_TOKEN` of them together as wide as an MLP; 0: an MLP.
        dtype: of weights, or of their scales, and of rows: one of `DTYPES`.
    """
    demo = model_path(DEMO)
    config: dict[str, Any] = json.loads((demo / "config.json").read_text(encoding="utf-8"))
    config.pop("quantization", None)
    config.pop("quantization_config", None)
    config |= {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_attention_heads": width // HEAD_DIM,
        "num_key_value_heads": max(1, width // HEAD_DIM // 2),
        "head_dim": HEAD_DIM,
    }
    if experts:
        config |= {
            "model_type": "qwen3_moe",
            "num_experts": experts,
            "num_experts_per_tok": min(EXPERTS_PER_TOKEN, experts),
            "moe_intermediate_size": -(-3 * width // EXPERTS_PER_TOKEN // GROUP) * GROUP,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "norm_topk_prob": True,
        }
    folder.mkdir(parents=True, exist_ok=True)
    with model_imports() as mlx_lm:
        model_class, args_class = mlx_lm.utils._get_classes(config)  # noqa: SLF001 - as load_model
        model = model_class(args_class.from_dict(config))
    randomise(model)
    model.set_dtype(getattr(mx, dtype))
    if bits:
        config["quantization"] = {"group_size": GROUP, "bits": bits}
        nn.quantize(model, GROUP, bits)
    weights = parameters(model)
    mx.eval(weights)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in TOKENIZER_FILES:
        if (demo / name).exists():
            shutil.copy(demo / name, folder / name)
    return folder


def main() -> None:
    """As the flags say."""
    parser = argparse.ArgumentParser(
        prog="daemon.execution.random_model", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--width", type=int, default=WIDTH, help=f"a multiple of {HEAD_DIM}")
    parser.add_argument("--experts", type=int, default=0, help="of each block (default: an MLP)")
    parser.add_argument("--bits", type=int, choices=(4, 8), default=0, help="quantise the weights")
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0])
    write_random_model(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
