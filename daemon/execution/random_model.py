"""Writes a model with random weights and the demo's tokenizer: something to measure with.

`python -m daemon.execution.random_model FOLDER [--layers N] [--width N] [--bits 8]`.
Engine thread.
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
GROUP = 64
"""Weights of one scale, where they are quantised."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def write_random_model(
    folder: Path, layers: int = LAYERS, width: int = WIDTH, bits: int = 0
) -> Path:
    """Write it into ``folder``, quantised to ``bits`` unless they are 0; the folder."""
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
    folder.mkdir(parents=True, exist_ok=True)
    with model_imports() as mlx_lm:
        model_class, args_class = mlx_lm.utils._get_classes(config)  # noqa: SLF001 - as load_model
        model = model_class(args_class.from_dict(config))
    randomise(model)
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
    parser.add_argument("--bits", type=int, choices=(4, 8), default=0, help="quantise the weights")
    given = parser.parse_args()
    write_random_model(given.folder, given.layers, given.width, given.bits)


if __name__ == "__main__":
    main()
